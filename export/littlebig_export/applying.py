"""Puts a calibration into a repository: its threshold into the gate's config, its evidence beside littlebig.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from littlebig_export.config_pbtxt import read_config, set_parameter, write_config
from littlebig_export.engines import STAGES
from littlebig_export.errors import RepositoryError
from littlebig_export.files import write_atomically
from littlebig_export.provenance import PROVENANCE, read_provenance

CALIBRATION = "calibration.json"
_COMMENTS = {
    "gate": "The score: little's confidence, or its margin (first minus second probability). From the calibration.",
    "answer": "Once big has run: its answer counts (big), or the surer of the two (arbitrate). From the calibration.",
    "offset": "How much surer than big little must be for its answer to stand, in logits. From the calibration.",
    "calibrated_escalation_low": "Escalation rates that the calibration leads one to expect; published for alerts.",
    "calibrated_escalation_high": "The upper end of them.",
}


def apply_calibration(repository: Path, text: str) -> str:
    """Serve what a calibration chose, from the server's next start or load of `little_big` on.

    Args:
        repository: the folder that an export wrote.
        text: the calibration's JSON, as `littlebig calibrate` writes it (format version 1).

    Returns:
        One line that says what is served now.

    Raises:
        RepositoryError: if the calibration was made for other weights or does not say for which, or chose what the
            gate does not serve; nothing is changed then.
        EngineError: if a file cannot be written.
    """
    calibration = json.loads(text)
    provenance = read_provenance(repository)
    for stage in STAGES:
        _check_weights(stage, calibration[stage], provenance["stages"][stage])
    threshold = calibration["chosen"]["threshold"]
    path = repository / "little_big" / "config.pbtxt"
    config = read_config(path)
    for name, value in _parameters(calibration).items():
        if value is None:
            config.message.parameters.pop(name, None)
        else:
            set_parameter(config.message, name, value)
            config.comments.setdefault(f"parameters[{name}]", [f"# {_COMMENTS[name]}"] if name in _COMMENTS else [])
    provenance["threshold"] = {"value": threshold, "source": CALIBRATION}
    # The evidence first: a threshold in force always has its reason beside it.
    write_atomically(repository / CALIBRATION, text.encode())
    write_atomically(path, write_config(config).encode())
    write_atomically(repository / PROVENANCE, (json.dumps(provenance, indent=2, ensure_ascii=False) + "\n").encode())
    chosen = "policy big: every image goes to big" if threshold is None else f"threshold {threshold}"
    return f"{repository} serves {chosen}, from the next start of its server on"


def _parameters(calibration: Mapping[str, Any]) -> dict[str, object]:
    """What the gate must be told; None for a parameter that is to be left out, as its default is meant."""
    chosen = calibration["chosen"]
    parameters: dict[str, object] = {"policy": "big" if chosen["threshold"] is None else "cascade"}
    if chosen["threshold"] is not None:
        parameters["threshold"] = chosen["threshold"]
    parameters["gate"] = None if calibration["gate"] == "confidence" else calibration["gate"]
    parameters["answer"] = None if calibration["answer"] == "big" else calibration["answer"]
    parameters["offset"] = calibration.get("offset")
    low, high = chosen.get("escalation_if_repeated") or (None, None)
    parameters["calibrated_escalation_low"] = low
    parameters["calibrated_escalation_high"] = high
    return parameters


def _check_weights(stage: str, calibrated: Mapping[str, Any], served: Mapping[str, Any]) -> None:
    ours, theirs = served["weights"]["sha256"], calibrated["weights_sha256"]
    if theirs is None:
        raise RepositoryError(
            f"the calibration does not say which weights of {stage} it was made for: "
            "calibrate on a table of 'littlebig predict'"
        )
    if ours != theirs:
        raise RepositoryError(
            f"the calibration was made for other weights of {stage} ({calibrated['name']} {theirs[:12]}) than the "
            f"repository has ({served['model']} {ours[:12]}): predict and calibrate with this repository"
        )
