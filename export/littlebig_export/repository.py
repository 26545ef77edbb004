"""Renders a model repository: the reference configs adapted to pair and target, graphs, labels, provenance.

Written into a folder beside the wanted one and then exchanged with it in one step, so that an interrupted export
leaves the old repository whole and no reader ever sees half of a new one.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
from tritonclient.grpc import model_config_pb2

from littlebig_contract.stages import MODELS, STAGES, models_in
from littlebig_export.applying import apply_calibration, forget_calibration
from littlebig_export.config_pbtxt import Config, read_config, reference_repository, set_parameter, write_config
from littlebig_export.decoding import NVIMAGECODEC, PILLOW, decode_mode, use_nvimagecodec
from littlebig_export.engine_key import hash_graph
from littlebig_export.errors import RepositoryError
from littlebig_export.preprocessing import Preprocessing
from littlebig_export.provenance import PROVENANCE
from littlebig_export.remote import make_remote, write_alias
from littlebig_export.targets import PYTHON_TARGETS
from littlebig_export.tensorrt_provider import on_tensorrt_provider
from littlebig_export.weight_files import save_graph

_HERE = Path(__file__).parent
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_MOST_INSTANCES = 4
# A lone instance of a model with a queue policy may stand still for half a second while requests wait:
# experiments/log.md.
_LEAST_WITH_POLICY = 2
# Why the models that clients ask have as many instances on a CPU as little has.
_INSTANCES_ON_CPU = {
    "little_big": "# Each instance has one call of little under way at a time: as many as little has keep those busy.",
    "preprocess": "# Two at least, because of the queue policy: one can always take requests.",
}
# Modules of preprocess that every Python model uses. Each gets a copy: a model can import only from its own folder.
SHARED_MODULES = ("littlebig_quoting.py", "littlebig_watchdog.py")
# Memory that an instance of preprocess needs, MiB: for each thread a quick picture, and a large one beside them.
# littlebig_lanes.py divides it so; a test compares.
_QUICK_MIB, _LARGE_MIB = 48, 400
# Of big's processes on a CPU: enough to make way for little, as PRIORITY_MAX does for it on a GPU. At 19 it would stand
# still where little keeps the cores busy.
_NICE = 15
# Images in one run of ONNX Runtime, measured in experiments/log.md.
_IMAGES_PER_RUN = 2


@dataclass(frozen=True)
class Rendering:
    """Everything that makes one repository differ from another.

    Attributes:
        target: one of `targets.TARGETS`.
        graphs: stage -> ONNX graph.
        canonical: the big model's preprocessing, which makes the canonical image.
        class_names: one per class.
        threshold: escalate when confidence < threshold; a calibration goes before it.
        cores: what the cpu target's threads are laid out for.
        provenance: contents of littlebig.json.
        calibration: the JSON text of one for these weights, or None.
        remote: stage -> parameters of its connection, for each stage that another server computes.
        decoder: of preprocess, `pillow` or `nvimagecodec`.
    """

    target: str
    graphs: Mapping[str, onnx.ModelProto]
    canonical: Preprocessing
    class_names: Sequence[str]
    threshold: float
    cores: int
    provenance: Mapping[str, Any]
    calibration: str | None = None
    remote: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    decoder: str = PILLOW


def check_output(output: Path) -> None:
    """Refuse a folder that is not ours to replace or cannot be written, before any work is done.

    Raises:
        RepositoryError: if the folder exists, is not empty, and is no repository that an export wrote, or if it cannot
            be written.
    """
    try:
        _check_writable(output)
    except OSError as reason:
        raise RepositoryError(
            f"'{output}' cannot be written: {reason.strerror or reason}; choose another --output"
        ) from reason
    if output.exists() and not output.is_dir():
        raise RepositoryError(f"'{output}' exists and is not a folder; choose another --output")
    if output.is_mount():
        raise RepositoryError(f"'{output}' is a mount point, which no other folder can replace: choose a folder in it")
    if output.is_dir() and any(output.iterdir()) and not (output / PROVENANCE).is_file():
        raise RepositoryError(
            f"'{output}' exists and is not a model repository of Little-Big (no {PROVENANCE}); choose another --output"
        )


def write_repository(output: Path, rendering: Rendering) -> None:
    """Write a complete repository, replacing an earlier one whole.

    Args:
        output: the folder that Triton will serve.
        rendering: what to write.

    Raises:
        RepositoryError: if the folder is not ours to replace, or cannot be written.
    """
    check_output(output)
    try:
        with replacing(output) as folder:
            for model in models_in(rendering.provenance):
                if model in MODELS:
                    _write_model(folder / model, rendering)
            if only := rendering.provenance.get("only"):
                write_alias(folder, only["stage"], only["alias"])
            text = json.dumps(_with_files(rendering.provenance, folder), indent=2, ensure_ascii=False)
            (folder / PROVENANCE).write_text(text + "\n", encoding="utf-8")
            if rendering.calibration is not None:
                apply_calibration(folder, rendering.calibration)
    except OSError as reason:
        raise RepositoryError(f"cannot write '{output}': {reason.strerror or reason}") from reason


def _with_files(provenance: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The provenance with the size of each file that a stage's answers come from; `littlebig preflight` compares."""
    stages = {
        stage: {
            **facts,
            "files": {path.name: path.stat().st_size for path in sorted((folder / stage / "1").glob("*.onnx*"))},
        }
        for stage, facts in provenance["stages"].items()
    }
    return {**provenance, "stages": stages}


def _check_writable(output: Path) -> None:
    """Try to make a folder where the new repository will be made.

    Raises:
        OSError: if that fails.
    """
    with contextlib.suppress(FileNotFoundError):
        output.stat()  # of a link that leads to itself, for one
    real = Path(os.path.realpath(output))
    parent = next((folder for folder in real.parents if folder.exists()), real)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=parent):
        pass


def _write_model(folder: Path, rendering: Rendering) -> None:
    name = folder.name
    reference = reference_repository() / name
    version = folder / "1"
    version.mkdir(parents=True)
    config = read_config(reference / "config.pbtxt")
    _adapt(config, rendering)
    # An ensemble's version folder is empty but for `.keep`: git and object stores lose empty folders.
    for source in sorted({*(reference / "1").glob("*.py"), *(reference / "1").glob(".keep")}):
        shutil.copyfile(source, version / source.name)
    if any(output.label_filename for output in config.message.output):
        (folder / "labels.txt").write_text("".join(f"{line}\n" for line in rendering.class_names), encoding="utf-8")
    if name in STAGES:
        if name not in rendering.remote:
            save_graph(rendering.graphs[name], version / "model.onnx")
        if name in rendering.remote or rendering.target in PYTHON_TARGETS:
            stage = "remote_stage" if name in rendering.remote else "onnxruntime_stage"
            for source in sorted((_HERE / stage).glob("*.py")):
                shutil.copyfile(source, version / source.name)
    if name in STAGES and name not in rendering.remote and rendering.target == "onnxruntime":
        on_tensorrt_provider(config, hash_graph(version / "model.onnx"))
    if name == "preprocess":
        set_parameter(config.message, "decode", decode_mode(rendering.decoder))
        if rendering.decoder == NVIMAGECODEC:
            use_nvimagecodec(config, version, rendering.canonical, on_gpu=rendering.target != "cpu")
    (folder / "config.pbtxt").write_text(write_config(config), encoding="utf-8")
    if name != "preprocess" and (version / "model.py").exists():
        for shared in SHARED_MODULES:
            shutil.copyfile(reference_repository() / "preprocess" / "1" / shared, version / shared)


def _adapt(config: Config, rendering: Rendering) -> None:
    """Set what depends on pair and target; all else stays as the reference says it."""
    message, size = config.message, rendering.canonical.size
    for tensor in (*message.input, *message.output):
        if tensor.name == "image":
            tensor.dims[:] = [size, size, 3]
        elif tensor.name == "probabilities":
            tensor.dims[:] = [len(rendering.class_names)]
    for warmup in message.model_warmup:
        warmup.inputs["image"].dims[:] = [size, size, 3]
    for graph in message.optimization.cuda.graph_spec:
        graph.input["image"].dim[:] = [size, size, 3]
        if graph.HasField("graph_lower_bound"):
            graph.graph_lower_bound.input["image"].dim[:] = [size, size, 3]
    if message.name in STAGES:
        served = rendering.provenance["stages"][message.name]
        set_parameter(message, "model", served["model"])
        set_parameter(message, "weights_sha256", served["weights"]["sha256"])
    if message.name == "little_big":
        forget_calibration(message)  # the reference pair's
        set_parameter(message, "threshold", rendering.threshold)
    elif message.name == "preprocess":
        _transform(config, rendering.canonical)
    _place(config, rendering)


def _place(config: Config, rendering: Rendering) -> None:
    """Set what a model runs on, if that is not the reference's GPU."""
    name = config.message.name
    if name in rendering.remote:
        make_remote(config, rendering.remote[name])
    elif name in STAGES and rendering.target in PYTHON_TARGETS:
        _on_onnxruntime(config, rendering)
    elif rendering.target == "cpu" and name in _INSTANCES_ON_CPU:
        _asked_on_cpu(config, rendering.cores)


def _asked_on_cpu(config: Config, cores: int) -> None:
    """Give a model that clients ask its instances, and preprocess a thread for each core and their memory."""
    message = config.message
    instances = message.instance_group[0].count = max(_LEAST_WITH_POLICY, cpu_layout(cores).instances)
    config.comments["instance_group[]/count"] = [_INSTANCES_ON_CPU[message.name]]
    if message.name == "preprocess":
        threads = -(-cores // instances)
        set_parameter(message, "threads", threads)
        set_parameter(message, "memory_budget_mib", instances * (threads * _QUICK_MIB + _LARGE_MIB))


def _on_onnxruntime(config: Config, rendering: Rendering) -> None:
    """Put ONNX Runtime in the place of the engine."""
    message = config.message
    message.backend = "python"
    config.comments[""] = [
        f"# The {message.name} stage on ONNX Runtime (target {rendering.target}); its tensors are those of the engine.",
    ]
    sizes = sorted({message.max_batch_size, *(graph.batch_size for graph in message.optimization.cuda.graph_spec)})
    message.ClearField("optimization")
    if rendering.target == "cpu":
        _on_cpu(config, rendering.cores)
    else:
        _on_cuda(config, sizes)


def _on_cuda(config: Config, sizes: Sequence[int]) -> None:
    """Let ONNX Runtime compute on the GPU, with a CUDA graph for each size that an engine has one for."""
    set_parameter(config.message, "provider", "CUDAExecutionProvider")
    set_parameter(config.message, "batch_sizes", ",".join(str(size) for size in sizes))
    config.comments["parameters[batch_sizes]"] = [
        "# A batch is padded to the next of these sizes; each has buffers of its own, and a CUDA graph where the GPU",
        "# computes every node.",
    ]


def _on_cpu(config: Config, cores: int) -> None:
    """Lay out a stage for the cores of a CPU."""
    message = config.message
    message.dynamic_batching.ClearField("max_queue_delay_microseconds")
    config.comments["dynamic_batching[]"].append(
        "# No delay: on a CPU a larger batch takes as much longer as it is larger."
    )
    message.dynamic_batching.preferred_batch_size[:] = [_IMAGES_PER_RUN]
    config.comments["dynamic_batching[]/preferred_batch_size"] = [
        "# Also what one run of ONNX Runtime takes: two share what is read of the weights, the activations of more",
        "# fall out of a core's cache. And an instance that took all that waits would leave the others idle.",
    ]
    del message.model_warmup[1:]  # one image is enough: a CPU has no kernels to choose for a larger batch
    config.comments["model_warmup[one image]"] = ["# The first user does not pay for lazy initialisation."]
    layout = cpu_layout(cores)
    group = message.instance_group[0]
    group.kind = model_config_pb2.ModelInstanceGroup.KIND_CPU
    group.count = layout.instances
    config.comments["instance_group[]/count"] = [
        "# An instance per core and a thread each: more images per second than one instance on all cores, because no",
        "# layer has to wait for its slowest thread.",
    ]
    set_parameter(message, "threads", layout.threads)
    config.comments["parameters[threads]"] = [
        "# Threads of ONNX Runtime per instance, for the cores that the export found."
    ]
    if message.name == "big":
        set_parameter(message, "nice", _NICE)
        config.comments["parameters[nice]"] = [
            "# little goes first where both want a core: every image waits for little, only unsure ones for big.",
        ]


def _transform(config: Config, canonical: Preprocessing) -> None:
    """Set how pictures become canonical images."""
    message = config.message
    set_parameter(message, "resize", canonical.resize)
    set_parameter(message, "crop_mode", canonical.crop_mode)
    set_parameter(message, "interpolation", canonical.interpolation)
    config.comments["parameters[resize]"] = [
        f"# The transform of the big model: floor({canonical.size} / {canonical.crop_pct:g}) on "
        + ("both sides" if canonical.crop_mode == "squash" else "the shorter side")
        + ", then the centre."
    ]


@dataclass(frozen=True)
class CpuLayout:
    """How a stage of the cpu target uses the cores.

    Attributes:
        instances: processes, each with a copy of the graph.
        threads: of ONNX Runtime, per instance.
    """

    instances: int
    threads: int


def cpu_layout(cores: int) -> CpuLayout:
    """The layout for a number of cores: an instance per core, up to four, which share larger machines.

    Measured on 2 cores (experiments/log.md); beyond four instances the copies of a large model's weights count
    for more than what another one would gain.
    """
    instances = min(cores, _MOST_INSTANCES)
    return CpuLayout(instances, cores // instances)


@contextmanager
def replacing(output: Path) -> Iterator[Path]:
    """A new folder beside `output` that takes its place when the block ends well, and vanishes when it does not."""
    output = output.resolve()  # of a link the folder is replaced, not the link
    output.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        folder.chmod(0o755)  # mkdtemp's 0700 would keep a server of another user out
        yield folder
        if output.exists():
            _exchange(folder, output)
        else:
            folder.rename(output)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # half a new repository, or the whole old one


def _exchange(one: Path, other: Path) -> None:
    """Swap two folders in one step (renameat2, Linux 3.15); in two where the file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) != 0:
        old = one.with_name(f"{one.name}-old")
        other.rename(old)
        one.rename(other)
        old.rename(one)
