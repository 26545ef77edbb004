"""What the bare tritonserver of nvidia-pytriton needs around it.

The wheel is made to be run by PyTriton's own Python API. Run by itself, its Python backend has to be told where the
backend and the stub for this Python are, which libraries to load, and which environment its models see.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from littlebig_server.errors import InstallationError

OLDEST_GLIBC = (2, 35)


@dataclass(frozen=True)
class Surroundings:
    """What a tritonserver is started with.

    Attributes:
        arguments: what it needs on its command line.
        environment: all of its environment variables.
        folder: temporary folder to remove when it has stopped; None if there is none.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path | None


def surround(wheel: Path) -> Surroundings:
    """Check that the wheel's tritonserver can run here, and make what it needs.

    Args:
        wheel: the folder of the package `pytriton`.

    Returns:
        Arguments and environment for tritonserver, and the folder that the caller removes when it has stopped.

    Raises:
        InstallationError: if the C library is too old, NumPy too new, or the stub or libpython for this Python missing.
    """
    _check_glibc(_glibc_version())
    _check_numpy(_numpy_version())
    stub = _stub(wheel)
    libraries = [str(wheel.parent / "nvidia_pytriton.libs")]
    libpython = libpython_folder()
    if libpython is not None:
        libraries.append(str(libpython))
    folder = Path(tempfile.mkdtemp(prefix="littlebig-triton-"))
    # Triton wants a backend's library and its stub in one folder; the wheel has them in two.
    backend = folder / "python"
    backend.mkdir()
    for part in (*(wheel / "tritonserver" / "backends" / "python").iterdir(), stub):
        (backend / part.name).symlink_to(part)
    return Surroundings(
        arguments=(f"--backend-directory={folder}",),
        environment=environment(os.environ, libraries),
        folder=folder,
    )


def surroundings_of_a_complete_installation() -> Surroundings:
    """Nothing but the environment as it is: a container's or a system's tritonserver knows its own folders."""
    return Surroundings(arguments=(), environment=dict(os.environ), folder=None)


def remove(surroundings: Surroundings) -> None:
    """Remove the temporary folder, if there is one."""
    if surroundings.folder is not None:
        shutil.rmtree(surroundings.folder, ignore_errors=True)


def environment(inherited: Mapping[str, str], libraries: list[str]) -> dict[str, str]:
    """The environment in which the wheel's tritonserver and its stubs see this interpreter's packages.

    Args:
        inherited: the environment variables to start from.
        libraries: folders to search for shared libraries first.

    Returns:
        A new environment. The stub embeds Python, which finds its packages as a `python3` does that was started by
        name: through PATH, and the virtual environment around it.
    """
    changed = dict(inherited)
    changed["LD_LIBRARY_PATH"] = _prepend(libraries, inherited.get("LD_LIBRARY_PATH"))
    changed["PATH"] = _prepend([str(Path(sys.executable).parent)], inherited.get("PATH"))
    changed["VIRTUAL_ENV"] = sys.prefix
    return changed


def libpython_folder() -> Path | None:
    """The folder of this Python's shared library, which the stub links.

    Returns:
        The folder, or None where the dynamic loader finds the library by itself.

    Raises:
        InstallationError: if there is no such library on this machine.
    """
    name = f"libpython{_version()}.so.1.0"
    for place in (sysconfig.get_config_var("LIBDIR"), Path(sys.base_prefix) / "lib"):
        if place and (Path(place) / name).is_file():
            return Path(place)
    try:
        ctypes.CDLL(name)
    except OSError:
        raise InstallationError(
            f"{name} is missing, which Triton's Python backend needs: apt-get install libpython{_version()} (Debian), "
            "or build this Python with --enable-shared (pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared)"
        ) from None
    return None


def _prepend(first: list[str], rest: str | None) -> str:
    # An empty rest must not leave a trailing colon: to the loader that means the current folder.
    return os.pathsep.join([*first, rest] if rest else first)


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _stub(wheel: Path) -> Path:
    stubs = wheel / "tritonserver" / "python_backend_stubs"
    stub = stubs / _version() / "triton_python_backend_stub"
    if not stub.is_file():
        versions = (folder.name for folder in stubs.iterdir()) if stubs.is_dir() else ()
        known = sorted(versions, key=lambda version: [int(part) for part in version.split(".")])
        raise InstallationError(
            f"nvidia-pytriton has no Python backend for Python {_version()}, only for {', '.join(known) or 'none'}: "
            "use one of these, or name a complete installation with --tritonserver"
        )
    return stub


def _glibc_version() -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return ""


def _check_glibc(version: str) -> None:
    """Refuse a C library that is not glibc, or older than the one the wheel was built against."""
    words = version.split()
    if len(words) != 2 or tuple(int(part) for part in words[1].split(".")[:2]) < OLDEST_GLIBC:
        raise InstallationError(
            "the tritonserver of nvidia-pytriton needs glibc 2.35 or newer, "
            f"this system has {version or 'another C library'}: "
            "use Debian 12, Ubuntu 22.04 or newer, or NVIDIA's Triton container"
        )


def _numpy_version() -> str | None:
    """The version that the stub's Python finds: it is embedded, and takes no notice of PYTHONPATH."""
    unseen = {os.path.abspath(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder}
    seen = [folder for folder in sys.path if os.path.abspath(folder) not in unseen]
    found = next(iter(importlib.metadata.distributions(name="numpy", path=seen)), None)
    return found.version if found else None


def _check_numpy(version: str | None) -> None:
    """Refuse NumPy 2: this stub was built for NumPy 1, and with 2 its tensors arrive empty and it crashes."""
    if version is None:
        raise InstallationError("numpy is missing, which Triton's Python backend needs: pip install 'numpy<2'")
    if int(version.split(".")[0]) >= 2:
        raise InstallationError(
            f"NumPy {version} does not work with nvidia-pytriton's Python backend, its models get empty tensors: "
            "pip install 'numpy<2'"
        )
