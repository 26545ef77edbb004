"""The version of this distribution, with the commit that the code is of: for `--version` and for reports."""

import importlib.metadata
import subprocess
from pathlib import Path

_HERE = Path(__file__).parent
# Written by hatch_build.py into a distribution that is built from a checkout.
_BUILT_FROM = _HERE / "commit.txt"


def version() -> str:
    """The version, and the commit of the checkout that this code is in or was built from: `0.1.0 (4e00710d3a51)`."""
    number = importlib.metadata.version("littlebig")
    commit = (
        _BUILT_FROM.read_text(encoding="utf-8").strip() if _BUILT_FROM.is_file() else _checked_out(_HERE.parents[1])
    )
    return f"{number} ({commit})" if commit else number


def _checked_out(root: Path) -> str | None:
    """The commit of a checkout, with `-dirty` if tracked files were changed; None outside a checkout or without git."""
    if not (root / ".git").exists():
        return None
    words = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
    try:
        process = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return process.stdout.strip()
