"""The default and the tiny pair, exported once for the whole suite: later runs and workers of pytest-xdist share them."""

import fcntl
import hashlib
from collections.abc import Callable
from pathlib import Path

from littlebig_export.provenance import is_current
from tests import tiny_pair

NAME = "efficientnet-lite"
BUILD = Path(__file__).parents[1] / "build" / "test"


def exported_default_pair(target: str = "cpu", precision: str = "fp32") -> Path:
    """Export the default pair, unless an export that is still current is there.

    Returns:
        The model repository. Do not change it: copy it.
    """
    return _exported(BUILD / f"{target}-{precision}", NAME, lambda: NAME, target, precision)


def exported_tiny_pair() -> Path:
    """The same for the tiny pair and the target `cpu`; its pair file `tiny.toml` lies beside the repository."""
    sources = BUILD / f"tiny-{hashlib.sha256(Path(tiny_pair.__file__).read_bytes()).hexdigest()[:12]}"
    sources.mkdir(parents=True, exist_ok=True)
    return _exported(sources / "models", "tiny", lambda: str(tiny_pair.write_tiny_pair(sources)), "cpu", "fp32")


def _exported(folder: Path, name: str, pair: Callable[[], str], target: str, precision: str) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed
        if not is_current(folder, name, target):
            # torch takes seconds to import, which a run with current exports need not spend.
            from littlebig_export.exporting import export_pair  # noqa: PLC0415
            from littlebig_export.pair import load_pair  # noqa: PLC0415

            export_pair(load_pair(pair()), target, folder, precision=precision)
    return folder
