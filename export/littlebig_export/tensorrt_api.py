"""TensorRT's Python API, which comes under two names: `tensorrt` builds what Triton serves, `tensorrt_rtx` checks.

Nothing else here imports either, so that one builder serves both, and a machine without them can still do all the rest.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from littlebig_export.errors import NotHereError

_MAJORS = (10, 11)
# Module -> its library, without the major version at the end of the name.
_LIBRARIES = {
    "tensorrt": "libnvinfer.so",
    "tensorrt_bindings": "libnvinfer.so",
    "tensorrt_rtx": "libtensorrt_rtx.so",
}


class Progress(Protocol):
    """Receives the progress of a build; phases nest, and steps are counted within a phase."""

    def phase_started(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase begins, within another one or at the top."""

    def step_done(self, phase: str, step: int) -> None:
        """One of a phase's steps is done."""

    def phase_finished(self, phase: str) -> None:
        """A phase is over."""


def load_tensorrt(library: Any = None) -> Any:
    """TensorRT as Triton's backend uses it.

    Args:
        library: TensorRT's library; by default the one that the bindings loaded.

    Raises:
        NotHereError: if it is not installed, is of a version whose builder differs, or its bindings are of another one.
    """
    # The container has the bindings alone, on top of the libraries that Triton's backend loads.
    names = ("tensorrt", "tensorrt_bindings")
    trt = _import(names, "gpu", "or build in the container, whose TensorRT is Triton's")
    version = library_version(trt, library)
    major, minor = version.split(".")[:2]
    if int(major) not in _MAJORS:
        raise NotHereError(f"TensorRT {version} is installed; engines are built with TensorRT 10 or 11")
    if trt.__version__.split(".")[:2] != [major, minor]:
        raise NotHereError(
            f"TensorRT's Python bindings are {trt.__version__} and its library is {version}: install the library's "
            f"bindings, pip install 'tensorrt-cu13-bindings=={major}.{minor}.*' (cu12 for CUDA 12)"
        )
    return trt


def library_version(trt: Any, library: Any = None) -> str:
    """Version of the library that builds and loads plans: `11.2.1.2`, or `11.2.1` where it has no build number.

    `trt.__version__` is that of the bindings, which load any library of the same major version.

    Args:
        trt: the module.
        library: its library; by default the one that the bindings loaded.

    Raises:
        NotHereError: if the library cannot be found.
    """
    if library is None:
        name = f"{_LIBRARIES[trt.__name__]}.{trt.__version__.split('.')[0]}"
        try:
            library = ctypes.CDLL(name)  # the loaded one: the loader compares names
        except OSError as reason:
            raise NotHereError(f"{trt.__name__} has no library: {reason}") from None
    # NvInferRuntimeBase.h: major x 10000 + minor x 100 + patch.
    number = int(library.getInferLibVersion())
    parts = [number // 10_000, number // 100 % 100, number % 100]
    if hasattr(library, "getInferLibBuildVersion"):
        parts.append(int(library.getInferLibBuildVersion()))
    return ".".join(map(str, parts))


def load_tensorrt_rtx() -> Any:
    """TensorRT-RTX: the same API, and a builder that needs no GPU.

    Raises:
        NotHereError: if it is not installed.
    """
    return _import(("tensorrt_rtx",), "check", "which checks without a GPU")


def new_log(trt: Any) -> Any:
    """A logger that keeps TensorRT's errors, in `errors`, instead of printing them."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(message)

    return Log()


def new_monitor(trt: Any, progress: Progress | None) -> Any:
    """TensorRT's progress monitor, which forwards to a Progress; `cancelled` ends the build at the next step."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.cancelled = False

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if progress:
                progress.phase_started(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if progress:
                progress.step_done(phase_name, step)
            return not self.cancelled

        def phase_finish(self, phase_name: str) -> None:
            if progress:
                progress.phase_finished(phase_name)

    return Monitor()


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Keep Python's collector out of a build.

    TensorRT calls our log and monitor while it holds locks. A collection that started there could destroy objects of an
    earlier build, whose destructors wait for the same locks: a deadlock.
    """
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def cancelled_by_ctrl_c(monitor: Any) -> Iterator[None]:
    """Let Ctrl-C end a build at its next step: an exception cannot pass through TensorRT's own code.

    Raises:
        KeyboardInterrupt: at the end of the block, if Ctrl-C came within it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def cancel(number: int, frame: object) -> None:
        monitor.cancelled = True

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if monitor.cancelled:
        raise KeyboardInterrupt


def plain(message: str) -> str:
    """TensorRT's words without its source files: one line."""
    inner = re.search(r"Error Code \d+: (?!Cuda)[^(]*\((.*?)(?: In \S+ at |\)?$)", message, re.MULTILINE)
    cuda = re.search(r"cudaError \d+: ([^)]*)", message)
    if inner:
        return inner.group(1).strip()
    return f"CUDA: {cuda.group(1)}" if cuda else message.strip().splitlines()[0]


def _import(modules: Sequence[str], extra: str, otherwise: str) -> Any:
    for module in modules:
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError:
            continue
        except (ImportError, OSError) as reason:  # its libraries are missing, or the driver's
            raise NotHereError(f"{module} cannot be loaded: {str(reason).splitlines()[0]}") from reason
    raise NotHereError(f"{modules[0]} is not installed: pip install 'littlebig[{extra}]', {otherwise}")
