"""The default pair, exported once for the whole suite: later runs and workers of pytest-xdist share the folder."""

import fcntl
from pathlib import Path

from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair
from littlebig_export.provenance import is_current

NAME = "efficientnet-lite"
BUILD = Path(__file__).parents[1] / "build" / "test"


def exported_default_pair(target: str = "cpu", precision: str = "fp32") -> Path:
    """Export the default pair, unless an export that is still current is there.

    Returns:
        The model repository. Do not change it: copy it.
    """
    folder = BUILD / f"{target}-{precision}"
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed
        if not is_current(folder, NAME, target):
            export_pair(load_pair(NAME), target, folder, precision=precision)
    return folder
