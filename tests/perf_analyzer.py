"""The perf_analyzer to test with, from PATH or from LITTLEBIG_SHARED_TOOLS; tests without one are skipped."""

import os
import shutil
from pathlib import Path

import pytest

TOOLS = Path(os.environ.get("LITTLEBIG_SHARED_TOOLS", Path(__file__).parents[2] / "shared" / "tools"))


def perf_analyzer() -> str:
    """Its path; skips the test if there is none."""
    path = shutil.which("perf_analyzer") or shutil.which("perf_analyzer", path=TOOLS)
    if path is None:
        pytest.skip("there is no perf_analyzer: put it on PATH, or set LITTLEBIG_SHARED_TOOLS to its folder")
    return path
