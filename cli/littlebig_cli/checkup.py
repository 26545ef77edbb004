"""What this machine has for serving, exporting and measuring: one finding per part, with the checks of each package."""

import importlib.metadata
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from littlebig_cli.failures import install
from littlebig_contract.onnx_runtime import providers
from littlebig_contract.provenance import PROVENANCE
from littlebig_export.errors import ExportError
from littlebig_export.gpu import cuda_version, find_gpus
from littlebig_export.targets import CONTAINER_TARGETS, PYTHON_TARGETS
from littlebig_export.tensorrt_api import library_version, load_tensorrt
from littlebig_server import InstallationError, ServerError
from littlebig_server.installation import Installation, find_tritonserver
from littlebig_server.ports import Addresses, Ports, choose_ports
from littlebig_server.preflight import SHARED_MEMORY, check_shared_memory, preflight
from littlebig_server.wheel import requirements

_PAIR = "efficientnet-lite"
_LOOPBACK = "127.0.0.1"
_PORTS = {"gRPC": Ports(0, 8001, 0), "HTTP": Ports(8000, 0, 0), "metrics": Ports(0, 0, 8002)}
# Extras that no other finding is about.
_EXTRAS = ("benchmarks", "calibration", "check", "export", "playground")
_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Finding:
    """One part of the machine.

    Attributes:
        name: of the part.
        present: whether it is there and usable.
        text: what was found; or what is missing, with the remedy.
        needed: whether the model repository cannot be served without it.
    """

    name: str
    present: bool
    text: str
    needed: bool = False


def examine(repository: Path) -> Iterator[Finding]:
    """Look at everything, in the order in which a server needs it.

    Args:
        repository: the model repository to serve.
    """
    target = _target(repository)
    on_gpu = target != "cpu"
    yield from _server(target)
    yield _finding(str(SHARED_MEMORY), lambda: f"{check_shared_memory() >> 20} MiB", needed=True)
    for name, ports in _PORTS.items():
        yield _finding(f"{name} port", lambda ports=ports: _free(ports))  # type: ignore[misc]
    yield _finding("ONNX Runtime", lambda: _onnx_runtime(target), needed=target in PYTHON_TARGETS)
    gpu = _finding("GPU", _gpus, on_gpu)
    yield gpu
    if gpu.present:
        yield _finding("driver", _driver, on_gpu)
    yield _finding("TensorRT", lambda: library_version(load_tensorrt()))
    yield _finding("weights", _weights)
    yield _repository(repository)
    yield _finding("extras", _extras)
    yield _finding("perf_analyzer", _perf_analyzer)


def _finding(name: str, check: Callable[[], str], needed: bool = False) -> Finding:
    try:
        return Finding(name, True, check(), needed)
    except (ServerError, ExportError, _Missing) as lack:
        return Finding(name, False, str(lack).removeprefix(f"no {name}: "), needed)


class _Missing(Exception):
    """A part that is not there; the message names the remedy."""


def _server(target: str) -> Iterator[Finding]:
    try:
        found = find_tritonserver()
    except InstallationError as lack:
        yield Finding("tritonserver", False, str(lack), needed=True)
        return
    yield Finding("tritonserver", True, _origin(found), needed=True)
    if found.wheel is not None:
        for name, check in requirements(found.wheel).items():
            yield _finding(name, check, needed=True)
    if target in CONTAINER_TARGETS and not _has_backend(found, CONTAINER_TARGETS[target]):
        name = CONTAINER_TARGETS[target]
        text = f"it has no backend {name}, which the repository needs: serve in NVIDIA's Triton container"
        yield Finding("backend", False, text, needed=True)


def _has_backend(found: Installation, name: str) -> bool:
    """Whether a tritonserver has a backend; an own one without a folder of backends is trusted."""
    backends = found.binary.resolve().parents[1] / "backends"
    return (backends / name).is_dir() or (found.wheel is None and not backends.is_dir())


def _origin(found: Installation) -> str:
    if found.wheel is None:
        return str(found.binary)
    return f"of nvidia-pytriton {importlib.metadata.version('nvidia-pytriton')}"


def _free(ports: Ports) -> str:
    choose_ports(Addresses(_LOOPBACK, _LOOPBACK, _LOOPBACK), ports)
    return f"{max(ports.http, ports.grpc, ports.metrics)} is free"


def _target(repository: Path) -> str:
    """What the repository's stages run on; an export without a GPU has the target cpu."""
    try:
        return str(json.loads((repository / PROVENANCE).read_text(encoding="utf-8"))["target"])
    except (OSError, ValueError, LookupError, TypeError):
        return "cpu"


def _onnx_runtime(target: str) -> str:
    try:
        found = providers()
    except ModuleNotFoundError:
        raise _Missing(f"not installed, the cpu target's stages run on it: {install('server')}") from None
    names = ", ".join(name.removesuffix("ExecutionProvider") for name in found)
    if target == "cuda" and "CUDAExecutionProvider" not in found:
        raise _Missing(
            f"runs on {names} alone, and the repository's stages need CUDA: pip uninstall -y onnxruntime, then "
            f"{install('cuda')}"
        )
    return f"runs on {names}"


def _gpus() -> str:
    return ", ".join(f"{gpu.name} ({gpu.compute_capability})" for gpu in find_gpus())


def _driver() -> str:
    words = _DRIVER.read_text(encoding="utf-8").split() if _DRIVER.is_file() else []
    number = next((word for word in words if word[0].isdigit() and "." in word), "")
    return f"{number}, CUDA {cuda_version()}".lstrip(", ")


def _weights() -> str:
    if not _installed(_PAIR):
        raise _Missing(f"those of the default pair are missing: {install(_PAIR)}")
    return "of the default pair; others come from timm's hub or your files"


def _repository(repository: Path) -> Finding:
    if repository.exists():
        # Without its last part, the size of the shared memory, which has a finding of its own.
        return _finding("repository", lambda: preflight(repository).rpartition("; ")[0], needed=True)
    ready = _installed("export") and _installed(_PAIR)
    first = "" if ready else f"{install('export,' + _PAIR)} && "
    remedy = f"{first}littlebig export --output {repository}"
    return Finding("repository", False, f"'{repository}' does not exist yet: {remedy}", needed=not ready)


def _extras() -> str:
    missing = [extra for extra in _EXTRAS if not _installed(extra)]
    installed = ", ".join(extra for extra in _EXTRAS if extra not in missing) or "none"
    if missing:
        raise _Missing(f"installed: {installed}; for the others: {install(','.join(missing))}")
    return installed


def _perf_analyzer() -> str:
    found = shutil.which("perf_analyzer")
    if found is None:
        raise _Missing("not on PATH, 'littlebig bench' needs it: pip install perf-analyzer (glibc 2.38 or later)")
    return found


def _installed(extra: str) -> bool:
    """Whether all packages of an extra are here, as the distribution's metadata lists them."""
    for requirement in importlib.metadata.requires("littlebig") or ():
        package, _, marker = requirement.partition(";")
        if re.search(rf"extra == ['\"]{extra}['\"]", marker) and "python_version" not in marker:
            name = re.split(r"[^\w.-]", package)[0]
            # onnxruntime-gpu takes the place of onnxruntime.
            if not any(_has_distribution(each) for each in (name, f"{name}-gpu")):
                return False
    return True


def _has_distribution(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
