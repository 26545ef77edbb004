"""Checks what a server needs, before it is started.

`littlebig build` checks the plans: it rejects or replaces those that were built for another GPU.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from littlebig_contract.provenance import ProvenanceError, read_provenance
from littlebig_contract.stages import MODELS
from littlebig_server.errors import IncompleteRepositoryError, PreflightError
from littlebig_server.repository import check_repository

_MIB = 1 << 20
# Each process of the Python backend starts with 1 MiB and grows with its batches; a few batches of large images fill
# 64 MiB, a container's default.
LEAST_SHARED_MEMORY = 256 * _MIB
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (nothing is written there)
_COPY_AGAIN = "the repository is incomplete, copy it again"


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
        IncompleteRepositoryError: if a part of the repository is missing or unreadable.
        PreflightError: if the shared memory is too small, or a required calibration is missing or another one.
    """
    size = _check_shared_memory(shared_memory, least)
    check_repository(repository, "classify")
    for model in MODELS:
        _check_model(repository, model)
    try:
        threshold = read_provenance(repository).get("threshold") or {}
    except ProvenanceError as error:
        raise IncompleteRepositoryError(str(error)) from None
    if require_calibration:
        _check_calibration(repository, threshold)
    source = f"threshold {threshold.get('value')} from {threshold.get('source')}"
    return f"{repository}: {source}; {shared_memory}: {size // _MIB} MiB"


def _check_shared_memory(folder: Path, least: int) -> int:
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


def _check_model(repository: Path, model: str) -> None:
    folder = repository / model
    if not (folder / "config.pbtxt").is_file():
        raise IncompleteRepositoryError(f"'{folder / 'config.pbtxt'}' is missing: {_COPY_AGAIN}")
    if not any(version.name.isdecimal() and version.is_dir() for version in folder.iterdir()):
        raise IncompleteRepositoryError(f"'{folder}' has no version folder: {_COPY_AGAIN}")


def _check_calibration(repository: Path, threshold: Mapping[str, Any]) -> None:
    source = threshold.get("source")
    evidence = repository / "calibration.json"
    if source != evidence.name or not evidence.is_file():
        raise PreflightError(
            f"'{repository}' has no calibration, its threshold {threshold.get('value')} is from '{source}': run "
            "'littlebig calibrate ... --apply', or allow it with calibration.required=false of the chart"
        )
    try:
        chosen = json.loads(evidence.read_text(encoding="utf-8"))["chosen"]["threshold"]
    except (OSError, ValueError, KeyError, TypeError):
        raise IncompleteRepositoryError(f"'{evidence}' is not a calibration: {_COPY_AGAIN}") from None
    if chosen != threshold.get("value"):
        raise PreflightError(
            f"'{evidence}' chose the threshold {chosen}, the repository has {threshold.get('value')}: apply it again "
            "with 'littlebig apply'"
        )
