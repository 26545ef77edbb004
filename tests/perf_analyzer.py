"""The perf_analyzer to test with: on PATH, or beside the checkout where this machine has one; skipped with a reason elsewhere."""

import os
import shutil
from pathlib import Path

import pytest

TOOLS = Path(os.environ.get("LITTLEBIG_SHARED_TOOLS", Path(__file__).parents[2] / "shared" / "tools"))


def perf_analyzer() -> str:
    """Its path, or a skip."""
    found = shutil.which("perf_analyzer") or shutil.which("perf_analyzer", path=TOOLS)
    if found is None:
        pytest.skip("perf_analyzer is not here: put it on PATH, or set LITTLEBIG_SHARED_TOOLS to its folder")
    return found
