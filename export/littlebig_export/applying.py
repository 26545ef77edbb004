"""Applies a calibration to a repository: the threshold to the gate's config, the evidence beside littlebig.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tritonclient.grpc import model_config_pb2

from littlebig_contract.stages import models_in
from littlebig_export.config_pbtxt import read_config, set_parameter, write_config
from littlebig_export.errors import RepositoryError
from littlebig_export.files import write_atomically
from littlebig_export.provenance import PROVENANCE, read_provenance

CALIBRATION = "calibration.json"
# A tolerance is recommended only if what it certifies escalates no more than this.
_WORTHWHILE = 0.5
# Parameters that only a calibration sets, and what the config says about them.
_COMMENTS = {
    "score": "What is compared with the threshold: little's confidence or its margin. From the calibration.",
    "answer": "Once big has run: its answer (big), or the surer of the two (arbitrate). From the calibration.",
    "offset": "How much surer than big little must be for its answer to be kept, in logits. From the calibration.",
    "calibrated_disagreement": "Fraction of the calibration's sure images on which the stages disagree; for alerts.",
    "calibrated_escalation_high": "Upper end of the calibration's interval of the escalation rate; for alerts.",
    "calibrated_escalation_low": "Lower end of that interval.",
}


def apply_calibration(repository: Path, text: str, *, allow_big_only: bool = False) -> str:
    """Serve what a calibration chose, from the server's next start or load of `little_big` on.

    Args:
        repository: the folder that an export wrote.
        text: the calibration's JSON, as `littlebig calibrate` writes it (format version 1 or 2).
        allow_big_only: whether the calibration may turn the cascade off.

    Returns:
        One line that says what is served now.

    Raises:
        RepositoryError: if there is no gate, the calibration was made for other weights, does not say for which or was
            made from pictures decoded otherwise, or chose big only without leave; nothing is changed then.
        EngineError: if a file cannot be written.
    """
    calibration = json.loads(text)
    provenance = read_provenance(repository)
    if "little_big" not in models_in(provenance):
        raise RepositoryError(f"'{repository}' has one stage alone: apply the calibration where the gate is")
    check_weights(calibration, provenance["stages"])
    _check_decoding(repository, calibration)
    if calibration["chosen"]["threshold"] is None and not allow_big_only:
        raise RepositoryError(_big_only(calibration))
    threshold = calibration["chosen"]["threshold"]
    path = repository / "little_big" / "config.pbtxt"
    config = read_config(path)
    for name, value in _parameters(calibration).items():
        if value is None:
            config.message.parameters.pop(name, None)
        else:
            set_parameter(config.message, name, value)
            config.comments.setdefault(f"parameters[{name}]", [f"# {_COMMENTS[name]}"] if name in _COMMENTS else [])
    provenance["threshold"] = {"value": threshold, "source": CALIBRATION, "score": calibrated_score(calibration)}
    # The evidence first: a threshold in force always has its reason beside it.
    write_atomically(repository / CALIBRATION, text.encode())
    write_atomically(path, write_config(config).encode())
    write_atomically(repository / PROVENANCE, (json.dumps(provenance, indent=2, ensure_ascii=False) + "\n").encode())
    chosen = "policy big: every image goes to big" if threshold is None else f"threshold {threshold}"
    return f"{repository} serves {chosen}, from the next start of its server on"


def _parameters(calibration: Mapping[str, Any]) -> dict[str, object]:
    """The gate's parameters; None leaves a parameter out, so that its default applies."""
    chosen = calibration["chosen"]
    parameters: dict[str, object] = {"policy": "big" if chosen["threshold"] is None else "cascade"}
    if chosen["threshold"] is not None:
        parameters["threshold"] = chosen["threshold"]
    parameters["score"] = calibrated_score(calibration)
    parameters["answer"] = None if calibration["answer"] == "big" else calibration["answer"]
    parameters["offset"] = calibration.get("offset")
    rate = chosen["escalation_rate"] if chosen["threshold"] is not None else {}
    parameters["calibrated_escalation_low"] = _rounded(rate.get("low"))
    parameters["calibrated_escalation_high"] = _rounded(rate.get("high"))
    parameters["calibrated_disagreement"] = _rounded(chosen["disagreement"])
    return parameters


def calibrated_score(calibration: Mapping[str, Any]) -> str:
    """The score that a calibration was made for; older files call it `gate`."""
    return str(calibration["score"] if "score" in calibration else calibration["gate"])


def _rounded(rate: float | None) -> float | None:
    return None if rate is None else round(rate, 4)


def forget_calibration(message: model_config_pb2.ModelConfig) -> None:
    """Take out of the gate's configuration what only a calibration can say; the threshold is left to the caller."""
    for name in _COMMENTS:
        message.parameters.pop(name, None)
    set_parameter(message, "policy", "cascade")
    set_parameter(message, "score", "confidence")


def check_weights(calibration: Mapping[str, Any], stages: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a calibration that was made for other weights than these.

    Args:
        calibration: contents of its JSON.
        stages: of littlebig.json.

    Raises:
        RepositoryError: naming the stage and both weights.
    """
    for stage, served in stages.items():
        _check_stage(stage, calibration[stage], served)


def _check_stage(stage: str, calibrated: Mapping[str, Any], served: Mapping[str, Any]) -> None:
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


def _check_decoding(repository: Path, calibration: Mapping[str, Any]) -> None:
    """Refuse a calibration made from pictures that were decoded otherwise than this repository decodes them."""
    predicted = calibration.get("data", {}).get("decode")
    if predicted is None:
        return
    served = read_config(repository / "preprocess" / "config.pbtxt").message.parameters["decode"].string_value
    if predicted != served:
        raise RepositoryError(
            f"the calibration was made from pictures decoded '{predicted}', the repository's preprocess has decode "
            f"'{served}': predict and calibrate with this repository"
        )


def _big_only(calibration: Mapping[str, Any]) -> str:
    """Why a calibration that turns the cascade off is refused, and what would help."""
    easier = [each for each in calibration.get("tolerances", ()) if each["escalation_rate"] <= _WORTHWHILE]
    needed = calibration.get("images_needed")
    helps = [f"label more images (about {needed:,}, an estimate)" if needed else "label more images"]
    if easier:
        tolerance, rate = easier[0]["max_accuracy_loss"], easier[0]["escalation_rate"]
        helps.append(f"allow a loss (--max-accuracy-loss {tolerance:g} is certified at {rate:.0%} escalated)")
    else:
        helps.append("allow a larger loss (--max-accuracy-loss)")
    return (
        f"nothing was certified, and 'big only' would turn the cascade off: {', '.join(helps)}, or say --allow-big-only"
    )
