"""Checks what a server needs, before it is started.

`littlebig build` checks the plans: it rejects or replaces those that were built for another GPU.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from littlebig_contract.provenance import PROVENANCE, ProvenanceError, read_provenance
from littlebig_contract.stages import MODELS, STAGES, models_in
from littlebig_server.errors import IncompleteRepositoryError, PreflightError
from littlebig_server.repository import check_repository, entry_model
from littlebig_server.served import COPY_AGAIN, check_folders, check_gate, read_model

_MIB = 1 << 20
# Each process of the Python backend starts with 1 MiB and grows with its batches; a few batches of large images fill
# 64 MiB, a container's default.
LEAST_SHARED_MEMORY = 256 * _MIB
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (nothing is written there)


def preflight(
    repository: Path,
    *,
    require_calibration: bool = False,
    shared_memory: Path = SHARED_MEMORY,
    least: int = LEAST_SHARED_MEMORY,
) -> str:
    """Check that a server can be started on a repository here.

    Args:
        repository: the model repository.
        require_calibration: whether the threshold must come from the calibration.json in the repository.
        shared_memory: the file system that Triton's Python backend uses.
        least: bytes that it must hold.

    Returns:
        One line with the threshold, its source, and the size of the shared memory.

    Raises:
        IncompleteRepositoryError: if a part of the repository is missing, empty, cut off or unreadable.
        PreflightError: if the shared memory is too small, Triton would load something else than the export wrote, or a
            required calibration is missing or another one.
    """
    size = check_shared_memory(shared_memory, least)
    check_repository(repository, entry_model(repository))
    try:
        provenance = read_provenance(repository)
    except ProvenanceError as error:
        raise IncompleteRepositoryError(str(error)) from None
    models = models_in(provenance)
    check_folders(repository, models)
    stages, threshold = _table(provenance, "stages"), _table(provenance, "threshold")
    parameters = {model: read_model(repository, model, _table(_table(stages, model), "files")) for model in models}
    for stage in set(STAGES) & set(models):
        _check_weights(repository, stage, parameters[stage], _table(stages, stage))
    if models != MODELS:
        return f"{repository}: {models[0]} alone, as {models[-1]}; {shared_memory}: {size // _MIB} MiB"
    check_gate(repository, parameters["little_big"])
    _check_threshold(repository, parameters["little_big"], threshold)
    if require_calibration:
        _check_calibration(repository, parameters["little_big"], provenance)
    source = f"threshold {threshold.get('value')} from {threshold.get('source')}"
    return f"{repository}: {source}; {shared_memory}: {size // _MIB} MiB"


def check_shared_memory(folder: Path = SHARED_MEMORY, least: int = LEAST_SHARED_MEMORY) -> int:
    """Check the size of the file system that Triton's Python backend uses.

    Returns:
        Its size in bytes.

    Raises:
        PreflightError: if it cannot be used, or holds less than `least` bytes.
    """
    try:
        system = os.statvfs(folder)
    except OSError as reason:
        raise PreflightError(
            f"'{folder}' cannot be used: {reason.strerror}; Triton's Python backend needs it"
        ) from None
    size = system.f_frsize * system.f_blocks
    if size < least:
        raise PreflightError(
            f"'{folder}' holds {size // _MIB} MiB, Triton's Python backend needs at least {least // _MIB} MiB: raise "
            "shm.size of the chart, or --shm-size of docker run"
        )
    return size


def _table(provenance: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A part of littlebig.json; empty where it is missing or no table."""
    part = provenance.get(key)
    return part if isinstance(part, dict) else {}


def _check_weights(repository: Path, stage: str, parameters: Mapping[str, str], facts: Mapping[str, Any]) -> None:
    served = parameters.get("weights_sha256")
    recorded = _table(facts, "weights").get("sha256")
    if served is not None and recorded != served:
        raise PreflightError(
            f"'{repository / stage / 'config.pbtxt'}' is of the weights {served[:12]}, {PROVENANCE} of "
            f"{str(recorded)[:12]}: export the repository again"
        )


def _check_threshold(repository: Path, parameters: Mapping[str, str], threshold: Mapping[str, Any]) -> None:
    """Refuse a gate that serves another threshold than the repository says, and so the metadata and the report."""
    value, policy = threshold.get("value"), parameters.get("policy", "cascade")
    served = f"threshold {float(parameters['threshold'])}" if policy == "cascade" else f"policy {policy}"
    number = float(value) if isinstance(value, int | float) else value
    said = "policy big" if value is None else f"threshold {number}"
    if served != said:
        raise PreflightError(
            f"'{repository / 'little_big' / 'config.pbtxt'}' serves {served}, {PROVENANCE} says {said} from "
            f"'{threshold.get('source')}': set it with 'littlebig apply' or 'littlebig export --threshold'"
        )


def _check_calibration(repository: Path, parameters: Mapping[str, str], provenance: Mapping[str, Any]) -> None:
    threshold, evidence = _table(provenance, "threshold"), repository / "calibration.json"
    source = threshold.get("source")
    if source != evidence.name or not evidence.is_file():
        raise PreflightError(
            f"'{repository}' has no calibration, its threshold {threshold.get('value')} is from '{source}': run "
            "'littlebig calibrate ... --apply', or allow it with calibration.required=false of the chart"
        )
    try:
        calibration = json.loads(evidence.read_text(encoding="utf-8"))
        chosen = calibration["chosen"]["threshold"]
        weights = {stage: calibration[stage]["weights_sha256"] for stage in STAGES}
        settings = {
            "score": calibration["score"] if "score" in calibration else calibration["gate"],
            "answer": calibration["answer"],
            "offset": float(calibration.get("offset") or 0.0),
        }
        served_weights = {stage: provenance["stages"][stage]["weights"]["sha256"] for stage in STAGES}
    except (OSError, ValueError, KeyError, TypeError):
        raise IncompleteRepositoryError(f"'{evidence}' is not a calibration: {COPY_AGAIN}") from None
    served = {
        "score": parameters.get("score", "confidence"),
        "answer": parameters.get("answer", "big"),
        "offset": float(parameters.get("offset", "0")),
    }
    for name, ours, theirs in (
        ("threshold", chosen, threshold.get("value")),
        *((name, settings[name], served[name]) for name in settings),
        *((f"weights of {stage}", weights[stage], served_weights[stage]) for stage in STAGES),
    ):
        if ours != theirs:
            raise PreflightError(
                f"'{evidence}' is for the {name} {ours}, the repository has {theirs}: apply it again with "
                "'littlebig apply'"
            )
