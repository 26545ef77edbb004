"""Fake installations of tritonserver."""

import sys
from pathlib import Path

import pytest

STUB = "triton_python_backend_stub"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\nexit 0\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site-packages whose package pytriton holds a tritonserver, and fails when it is imported."""
    folder = tmp_path / "site-packages" / "pytriton"
    executable(folder / "tritonserver" / "bin" / "tritonserver")
    executable(folder / "tritonserver" / "python_backend_stubs" / VERSION / STUB)
    executable(folder / "tritonserver" / "python_backend_stubs" / "3.9" / STUB)
    backend = folder / "tritonserver" / "backends" / "python"
    backend.mkdir(parents=True)
    (backend / "libtriton_python.so").touch()
    (folder / "__init__.py").write_text("raise AssertionError('pytriton was imported')\n")
    (folder.parent / "nvidia_pytriton.libs").mkdir()
    monkeypatch.delitem(sys.modules, "pytriton", raising=False)
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("littlebig_server.installation._pytriton_folder", lambda: None)


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """The path of a container's binary that does not exist."""
    return tmp_path / "nowhere" / "tritonserver"
