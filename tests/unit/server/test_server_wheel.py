"""How the wheel's tritonserver is prepared, and which error reports a missing part."""

import importlib.metadata
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest

from littlebig_server import InstallationError
from littlebig_server import wheel as module
from littlebig_server.wheel import libpython_folder, prepare_wheel, wheel_variables

numpy_version = module._numpy_version  # the fixture replaces it
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(autouse=True)
def libpython(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "libpython"
    folder.mkdir()
    (folder / f"libpython{VERSION}.so.1.0").touch()
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: str(folder) if name == "LIBDIR" else None)
    monkeypatch.setattr(module, "_glibc_version", lambda: "glibc 2.35")
    monkeypatch.setattr(module, "_numpy_version", lambda: "1.26.4")
    return folder


def test_backend_and_stub_are_linked_into_one_folder(wheel: Path) -> None:
    launch = prepare_wheel(wheel)

    assert launch.folder is not None
    python = launch.folder / "python"
    assert launch.arguments == (f"--backend-directory={launch.folder}",)
    assert {entry.name: entry.resolve().relative_to(wheel / "tritonserver").parts[0] for entry in python.iterdir()} == {
        "libtriton_python.so": "backends",
        "triton_python_backend_stub": "python_backend_stubs",
    }
    assert (python / "triton_python_backend_stub").resolve().parent.name == VERSION
    launch.remove()
    assert not launch.folder.exists()
    assert (wheel / "tritonserver" / "backends" / "python" / "libtriton_python.so").exists()


def test_libraries_of_the_wheel_and_of_this_python_come_first(
    wheel: Path, libpython: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_LIBRARY_PATH", "/usr/local/cuda/lib64")

    launch = prepare_wheel(wheel)

    launch.remove()
    libraries = f"{wheel.parent / 'nvidia_pytriton.libs'}:{libpython}:/usr/local/cuda/lib64"
    assert launch.variables["LD_LIBRARY_PATH"] == libraries


def test_the_stub_imports_from_this_environment() -> None:
    changed = wheel_variables({"HOME": "/home/me", "PATH": "/usr/bin"}, ["/libs"])

    assert changed == {
        "HOME": "/home/me",
        "LD_LIBRARY_PATH": "/libs",
        "PATH": f"{Path(sys.executable).parent}:/usr/bin",
        "VIRTUAL_ENV": sys.prefix,
    }


def test_a_libpython_that_the_loader_finds_needs_no_folder(libpython: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(libpython)
    monkeypatch.setattr(sys, "base_prefix", str(libpython))
    loaded: list[str] = []
    monkeypatch.setattr(module.ctypes, "CDLL", loaded.append)

    assert libpython_folder() is None
    assert loaded == [f"libpython{VERSION}.so.1.0"]


def test_a_missing_libpython_is_refused(libpython: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(libpython)
    monkeypatch.setattr(sys, "base_prefix", str(libpython))

    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(module.ctypes, "CDLL", missing)
    with pytest.raises(InstallationError) as failure:
        libpython_folder()
    assert str(failure.value) == (
        f"libpython{VERSION}.so.1.0 is missing, which Triton's Python backend needs: apt-get install libpython{VERSION} (Debian), "
        "or build this Python with --enable-shared (pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared)"
    )


@pytest.mark.parametrize(
    ("version", "has"), [("glibc 2.34", "glibc 2.34"), ("", "another C library")], ids=["old", "musl"]
)
def test_an_old_or_other_c_library_is_refused(
    wheel: Path, monkeypatch: pytest.MonkeyPatch, version: str, has: str
) -> None:
    monkeypatch.setattr(module, "_glibc_version", lambda: version)
    with pytest.raises(InstallationError) as failure:
        prepare_wheel(wheel)
    assert str(failure.value) == (
        f"the tritonserver of nvidia-pytriton needs glibc 2.35 or newer, this system has {has}: "
        "use Debian 12, Ubuntu 22.04 or newer, or NVIDIA's Triton container"
    )


def test_numpy_2_is_refused(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_numpy_version", lambda: "2.1.0")
    with pytest.raises(InstallationError) as failure:
        prepare_wheel(wheel)
    assert str(failure.value) == (
        "NumPy 2.1.0 does not work with nvidia-pytriton's Python backend, its models get empty tensors: pip install 'numpy<2'"
    )


def test_the_numpy_of_the_environment_counts_and_not_of_pythonpath(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, version in (("path", "1.26.4"), ("environment", "2.1.0")):
        about = tmp_path / folder / f"numpy-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: numpy\nVersion: {version}\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'path'}:")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "path"), str(tmp_path / "environment")])
    assert importlib.metadata.version("numpy") == "1.26.4"
    assert numpy_version() == "2.1.0"
    monkeypatch.setattr(sys, "path", [str(tmp_path / "path")])
    assert numpy_version() is None


def test_a_missing_numpy_is_refused(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_numpy_version", lambda: None)
    with pytest.raises(InstallationError) as failure:
        prepare_wheel(wheel)
    assert str(failure.value) == "numpy is missing, which Triton's Python backend needs: pip install 'numpy<2'"


def test_a_python_without_stub_is_refused(wheel: Path) -> None:
    shutil.rmtree(wheel / "tritonserver" / "python_backend_stubs" / VERSION)
    with pytest.raises(InstallationError) as failure:
        prepare_wheel(wheel)
    assert str(failure.value) == (
        f"nvidia-pytriton has no Python backend for Python {VERSION}, only for 3.9: "
        "use one of these, or name a complete installation with --tritonserver"
    )
