"""What a server needs on this machine before it is started: each lack is one line here, and a riddle later.

Plans for this GPU are the business of `littlebig build`, which refuses or replaces those that were made elsewhere.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from littlebig_server.errors import PreflightError, RepositoryError
from littlebig_server.repository import check_repository

MODELS = ("little", "big", "little_big", "preprocess", "classify")
NOTE = "littlebig.json"
# Each process of the Python backend takes 1 MiB to begin with and grows by what its batches hold; 64 MiB, a container's
# default, is full at a few batches of large images.
LEAST_SHARED_MEMORY = 256 << 20
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (it is only looked at)
_MIB = 1 << 20


def preflight(
    repository: Path,
    *,
    require_calibration: bool = False,
    shared_memory: Path = SHARED_MEMORY,
    least: int | None = None,
) -> str:
    """Check that a server can be started on a repository here.

    Args:
        repository: the model repository.
        require_calibration: whether its threshold must come from a calibration that lies in it.
        shared_memory: the file system that Triton's Python backend uses.
        least: bytes that it must hold; LEAST_SHARED_MEMORY by default.

    Returns:
        One line that says what was found.

    Raises:
        RepositoryError: if the repository is not whole.
        PreflightError: if the calibration or the shared memory is not as it must be.
    """
    size = _check_shared_memory(shared_memory, LEAST_SHARED_MEMORY if least is None else least)
    check_repository(repository, "classify")
    for model in MODELS:
        _check_model(repository, model)
    note = _read(repository / NOTE)
    threshold = note.get("threshold") or {}
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
        raise RepositoryError(f"'{folder / 'config.pbtxt'}' is missing: the repository is not whole, copy it again")
    if not any(version.name.isdecimal() and version.is_dir() for version in folder.iterdir()):
        raise RepositoryError(f"'{folder}' has no version folder: the repository is not whole, copy it again")


def _check_calibration(repository: Path, threshold: dict[str, Any]) -> None:
    source = threshold.get("source")
    evidence = repository / "calibration.json"
    if source != evidence.name or not evidence.is_file():
        raise PreflightError(
            f"'{repository}' has no calibration, its threshold {threshold.get('value')} is from '{source}': run "
            "'littlebig calibrate ... --apply', or allow it with calibration.required=false of the chart"
        )
    chosen = _read(evidence).get("chosen") or {}
    if chosen.get("threshold") != threshold.get("value"):
        raise PreflightError(
            f"'{evidence}' chose the threshold {chosen.get('threshold')}, the repository says "
            f"{threshold.get('value')}: apply it again with 'littlebig apply'"
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RepositoryError(f"'{path}' is missing: the repository is not whole, copy it again") from None
    except (OSError, ValueError) as reason:
        raise RepositoryError(f"'{path}' cannot be read: {reason}") from None
    if not isinstance(content, dict):
        raise RepositoryError(f"'{path}' is no JSON object: the repository is not whole, copy it again")
    return content
