"""ONNX graph -> TensorRT plan, in memory. The same code builds with `tensorrt` and checks with `tensorrt_rtx`."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from littlebig_export.errors import EngineError
from littlebig_export.files import write_atomically
from littlebig_export.tensorrt_api import (
    Progress,
    cancelled_by_ctrl_c,
    new_log,
    new_monitor,
    plain,
    without_garbage_collection,
)

# What a builder without memory says, in the versions seen.
_MEMORY = ("out of memory", "outofmemory", "insufficient memory", "could not find any implementation", "workspace size")


@dataclass(frozen=True)
class Profile:
    """The batch sizes that an engine takes, and the one that its kernels are chosen for.

    Attributes:
        smallest: at least 1.
        best: kernels are timed at this size.
        largest: at least the `max_batch_size` of config.pbtxt.
    """

    smallest: int
    best: int
    largest: int

    def __post_init__(self) -> None:
        """Refuse what is no range."""
        if not 1 <= self.smallest <= self.best <= self.largest:
            raise EngineError(f"profile {self} is no range of batches: it is SMALLEST:BEST:LARGEST, from 1 up")

    def __str__(self) -> str:
        """As it is written on the command line."""
        return f"{self.smallest}:{self.best}:{self.largest}"

    @classmethod
    def parse(cls, text: str) -> Profile:
        """Read `1:8:32`.

        Raises:
            EngineError: if it is not three numbers in order.
        """
        parts = text.split(":")
        if len(parts) != 3 or not all(part.isdigit() for part in parts):
            raise EngineError(f"profile '{text}' is not SMALLEST:BEST:LARGEST, such as 1:8:32")
        return cls(*map(int, parts))

    @classmethod
    def up_to(cls, largest: int) -> Profile:
        """All batches from 1, the kernels chosen at a quarter of the largest: between a lone image and a full batch."""
        return cls(1, max(1, largest // 4), largest)


@dataclass(frozen=True)
class BuildSettings:
    """How to build.

    Attributes:
        profile: the batch sizes.
        workspace_mib: GPU memory that a kernel may use for itself, in MiB; all of it if None.
        hardware_compatible: for any GPU from Ampere on, instead of this kind alone.
        version_compatible: for later TensorRT versions of the same major one, instead of this one alone.
        compute_capability: build ahead of time for a GPU such as `8.9` that need not be here (TensorRT-RTX alone).
    """

    profile: Profile
    workspace_mib: int | None = None
    hardware_compatible: bool = False
    version_compatible: bool = False
    compute_capability: str | None = None


@dataclass(frozen=True)
class Plan:
    """A built engine.

    Attributes:
        data: the serialised engine.
        inputs: `name TYPE [shape]` of each.
        outputs: likewise.
        seconds: that parsing and building took.
    """

    data: memoryview
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    seconds: float


def build_plan(
    trt: Any,
    graph: Path,
    settings: BuildSettings,
    *,
    timing_cache: Path | None = None,
    progress: Progress | None = None,
    called: str | None = None,
) -> Plan:
    """Parse a graph and build its engine.

    Args:
        trt: the module, from `load_tensorrt` or `load_tensorrt_rtx`.
        graph: an ONNX file with a dynamic batch.
        settings: how.
        timing_cache: a file of kernel timings, read if it is there and written after; none measures every kernel again.
        progress: receives the progress of the build.
        called: what messages call the graph; its path by default.

    Raises:
        EngineError: if TensorRT cannot take the graph (naming each node that it does not support) or has no memory.
        KeyboardInterrupt: if Ctrl-C ended the build.
    """
    with without_garbage_collection():
        return _build(trt, graph, settings, timing_cache, progress, called or str(graph))


def timing_cache_file(version: str, gpu: str) -> Path:
    """Where kernel timings are kept: they hold for one version of TensorRT on one kind of GPU."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    slug = "".join(letter if letter.isalnum() else "-" for letter in gpu.lower())
    return cache / "littlebig" / f"timings-{version}-{slug}.bin"


def _build(
    trt: Any, graph: Path, settings: BuildSettings, timing_cache: Path | None, progress: Progress | None, name: str
) -> Plan:
    start = time.monotonic()
    log = new_log(trt)
    builder = trt.Builder(log)
    # From 11 on every network is so; in 10 it must be asked for.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(graph)):
        raise EngineError(_unsupported(name, [parser.get_error(index) for index in range(parser.num_errors)]))
    config = builder.create_builder_config()
    _configure(trt, config, settings)
    _add_profile(builder, network, config, settings.profile, name)
    if timing_cache:
        _read_timings(trt, config, timing_cache)
    monitor = new_monitor(trt, progress)
    config.progress_monitor = monitor
    with cancelled_by_ctrl_c(monitor):
        data = builder.build_serialized_network(network, config)
    if data is None:
        raise EngineError(_failure(name, log.errors, settings))
    if timing_cache:
        _write_timings(config, timing_cache)
    return Plan(
        data=memoryview(data),
        inputs=tuple(_describe_tensor(network.get_input(index)) for index in range(network.num_inputs)),
        outputs=tuple(_describe_tensor(network.get_output(index)) for index in range(network.num_outputs)),
        seconds=time.monotonic() - start,
    )


def _configure(trt: Any, config: Any, settings: BuildSettings) -> None:
    if settings.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mib << 20)
    if settings.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if settings.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if settings.compute_capability:
        name = f"SM{settings.compute_capability.replace('.', '')}"
        capability = getattr(trt.ComputeCapability, name, None)
        if capability is None:
            raise EngineError(f"{trt.__name__} {trt.__version__} builds for no compute capability {name[2:]}")
        config.num_compute_capabilities = 1
        config.set_compute_capability(capability, 0)


def _add_profile(builder: Any, network: Any, config: Any, batches: Profile, graph: str) -> None:
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        batch, *rest = tensor.shape
        if batch != -1 or -1 in rest:
            raise EngineError(
                f"'{graph}': input '{tensor.name}' is {_shape(tensor)}; its first dimension, the batch, must be "
                "dynamic, and no other may be"
            )
        profile.set_shape(tensor.name, *((size, *rest) for size in (batches.smallest, batches.best, batches.largest)))
    config.add_optimization_profile(profile)


def _read_timings(trt: Any, config: Any, path: Path) -> None:
    # An editable cache lists its entries even after other machines' builds were merged into it.
    config.set_flag(trt.BuilderFlag.EDITABLE_TIMING_CACHE)
    known = path.read_bytes() if path.is_file() else b""
    # A cache of another GPU is refused by TensorRT; a fresh one costs time, nothing else.
    if not config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False):
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)


def _write_timings(config: Any, path: Path) -> None:
    # The engine is built: a cache that cannot be written costs the next build time, and must not cost this one.
    with contextlib.suppress(OSError, EngineError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, memoryview(config.get_timing_cache().serialize()))


def _unsupported(graph: str, errors: Sequence[Any]) -> str:
    nodes = []
    for error in errors:
        reason = plain(error.desc())
        known = "" if reason in ("", "false") else f": {reason}"
        name = f"'{error.node_name()}' ({error.node_operator()})" if error.node_name() else "the graph"
        nodes.append(f"{name}{known}")
    return f"TensorRT does not support {'; '.join(nodes)} in '{graph}'"


def _failure(graph: str, errors: Sequence[str], settings: BuildSettings) -> str:
    words = plain(errors[0]) if errors else "it gives no reason"
    if any(sign in error.lower() for error in errors for sign in _MEMORY):
        limit = f"give more than --workspace {settings.workspace_mib}"
        remedy = limit if settings.workspace_mib is not None else "stop what else uses the GPU"
        return f"not enough memory to build '{graph}': {words.rstrip('.')}; {remedy}, or take a smaller --profile"
    return f"TensorRT cannot build '{graph}': {words}"


def _describe_tensor(tensor: Any) -> str:
    return f"{tensor.name} {str(tensor.dtype).rsplit('.', 1)[-1]} {_shape(tensor)}"


def _shape(tensor: Any) -> str:
    return f"[{', '.join('batch' if size == -1 else str(size) for size in tensor.shape)}]"
