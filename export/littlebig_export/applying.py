"""Puts a calibration into a repository: its threshold into the gate's config, its evidence beside littlebig.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from littlebig_export.config_pbtxt import read_config, set_parameter, write_config
from littlebig_export.errors import RepositoryError
from littlebig_export.files import write_atomically
from littlebig_export.provenance import PROVENANCE, read_provenance
from littlebig_export.repository import STAGES

CALIBRATION = "calibration.json"


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
    if (calibration["gate"], calibration["answer"]) != ("confidence", "big"):
        raise RepositoryError(
            f"the calibration chose gate '{calibration['gate']}' and answer '{calibration['answer']}'; the gate serves "
            "confidence and big's answer: calibrate with --gate confidence --answer big"
        )
    threshold = calibration["chosen"]["threshold"]
    path = repository / "little_big" / "config.pbtxt"
    config = read_config(path)
    if threshold is None:
        set_parameter(config.message, "policy", "big")
    else:
        set_parameter(config.message, "policy", "cascade")
        set_parameter(config.message, "threshold", threshold)
    provenance["threshold"] = {"value": threshold, "source": CALIBRATION}
    # The evidence first: a threshold in force always has its reason beside it.
    write_atomically(repository / CALIBRATION, text.encode())
    write_atomically(path, write_config(config).encode())
    write_atomically(repository / PROVENANCE, (json.dumps(provenance, indent=2, ensure_ascii=False) + "\n").encode())
    chosen = "policy big: every image goes to big" if threshold is None else f"threshold {threshold}"
    return f"{repository} serves {chosen}, from the next start of its server on"


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
