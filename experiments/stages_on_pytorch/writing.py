"""Writes a model repository again with its stages on PyTorch: exported networks and adapted config.pbtxt files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import timm.data
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from tritonclient.grpc import model_config_pb2

from littlebig_benchmarks.errors import ScenarioError
from littlebig_contract.provenance import PROVENANCE, ProvenanceError, read_provenance
from littlebig_contract.stages import STAGES
from littlebig_export.config_pbtxt import Config, read_config, set_parameter, write_config
from littlebig_export.pair import Pair, TimmModel
from littlebig_export.preprocessing import Preprocessing
from littlebig_export.repository import replacing
from littlebig_export.view import view_matrix
from littlebig_export.weights import load_timm

_MODEL = Path(__file__).parent / "model.py"


class TorchStage(nn.Module):  # type: ignore[misc]  # torch is not installed for a lint run
    """The graph of `littlebig_export.stage_graph` in PyTorch: canonical images in, a stage's four outputs out."""

    def __init__(self, network: nn.Module, model: Preprocessing, canonical: Preprocessing, dtype: torch.dtype) -> None:
        """Wrap a network, which is cast to `dtype`; everything around it is FP32."""
        super().__init__()
        self.network = network.to(dtype)
        self.dtype = dtype
        matrix = view_matrix(canonical, model)
        self.register_buffer("matrix", None if matrix is None else torch.tensor(matrix).contiguous())
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (model.mean, model.std))
        self.register_buffer("scale", 1.0 / (255.0 * std))
        self.register_buffer("shift", -mean / std)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Canonical images, uint8 [N, H, W, 3] -> label int32, confidence, margin float32 [N, 1], probabilities."""
        pixels = image.permute(0, 3, 1, 2).to(torch.float32)
        matrix: torch.Tensor | None = self.matrix
        if matrix is not None:
            pixels = (matrix @ (pixels @ matrix.T)).clamp(0.0, 255.0)
        view = (pixels * self.scale + self.shift).to(dtype=self.dtype, memory_format=torch.channels_last)
        probabilities = self.network(view).to(torch.float32).softmax(-1)
        top, labels = probabilities.topk(2, dim=-1)
        return labels[:, :1].to(torch.int32), top[:, :1], top[:, :1] - top[:, 1:], probabilities


def fold_batch_norms(network: nn.Module, example: torch.Tensor) -> None:
    """Fold each batch norm that follows a convolution into its weights, in place, as TensorRT does.

    Args:
        network: in evaluation mode, FP32, on the CPU.
        example: an input, run once to find which norm takes which convolution's output.
    """
    outputs: dict[int, tuple[nn.Module, torch.Tensor]] = {}  # the tensor is held, so that its id stays unique
    pairs: list[tuple[nn.Module, nn.Module]] = []

    def record(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            outputs[id(output)] = (module, output)
        elif id(inputs[0]) in outputs:
            pairs.append((outputs[id(inputs[0])][0], module))

    kinds = (nn.Conv2d, nn.BatchNorm2d)
    hooks = [each.register_forward_hook(record) for each in network.modules() if isinstance(each, kinds)]
    network(example)
    for hook in hooks:
        hook.remove()
    names = {module: name for name, module in network.named_modules()}
    for convolution, norm in pairs:
        statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
        convolution.weight, convolution.bias = fuse_conv_bn_weights(convolution.weight, convolution.bias, *statistics)
        # timm's norms contain their activation.
        network.set_submodule(names[norm], getattr(norm, "act", nn.Identity()))


def write(pair: Pair, repository: Path, output: Path, report: Callable[[str], None]) -> None:
    """Write a copy of a repository whose stages run on PyTorch.

    Args:
        pair: of the repository; both models from timm.
        repository: of that pair, exported for any target; it is not changed.
        output: the new one; must not exist.
        report: called with one line per step.

    Raises:
        ScenarioError: if a stage of the pair is an ONNX file, the repository is not of the pair, or the output
            exists.
        ExportError: if a network or its weights cannot be loaded.
    """
    if output.exists():
        raise ScenarioError(f"'{output}' exists: remove it, or choose another --output")
    try:
        provenance = read_provenance(repository)
    except ProvenanceError as reason:
        raise ScenarioError(str(reason)) from None
    if provenance["pair"]["name"] != pair.name:
        raise ScenarioError(
            f"'{repository}' is of the pair '{provenance['pair']['name']}', not '{pair.name}': give --pair"
        )
    networks = {}
    for stage, model in (("little", pair.little), ("big", pair.big)):
        if not isinstance(model, TimmModel):
            raise ScenarioError(f"{stage} of pair '{pair.name}' is an ONNX file: only timm's models run on PyTorch")
        networks[stage] = load_timm(model)
    configs = {stage: read_config(repository / stage / "config.pbtxt") for stage in STAGES}
    sizes = sorted(set().union(*(_graph_sizes(config) for config in configs.values())))
    with replacing(output) as folder:
        unwanted = shutil.ignore_patterns("model.onnx*", "model.plan", *STAGES)
        shutil.copytree(repository, folder, ignore=unwanted, dirs_exist_ok=True)
        # Another target: `littlebig build` finds no engines to build.
        (folder / PROVENANCE).write_text(json.dumps({**provenance, "target": "pytorch"}, indent=2), encoding="utf-8")
        for stage, program in _programs(networks, configs["big"].message.max_batch_size):
            (folder / stage / "1").mkdir(parents=True)
            torch.export.save(program, folder / stage / "1" / "stage.pt2")
            shutil.copyfile(_MODEL, folder / stage / "1" / "model.py")
            shutil.copyfile(repository / stage / "labels.txt", folder / stage / "labels.txt")
            _adapt(configs[stage], sizes)
            (folder / stage / "config.pbtxt").write_text(write_config(configs[stage]), encoding="utf-8")
            report(f"{stage}: {type(networks[stage]).__name__}, graphs for batches of {', '.join(map(str, sizes))}")


def _programs(networks: Mapping[str, nn.Module], largest: int) -> Iterator[tuple[str, Any]]:
    """Each stage as an exported program, for the GPU if there is one, else for the CPU."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Most operators have no half-precision kernel on a CPU.
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    facts = {
        stage: Preprocessing.from_timm(timm.data.resolve_model_data_config(network))
        for stage, network in networks.items()
    }
    size = facts["big"].size
    example = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8, device=device)
    batch = torch.export.Dim("batch", min=1, max=largest)
    for stage, network in networks.items():
        with torch.no_grad():
            fold_batch_norms(network, torch.zeros(1, 3, facts[stage].size, facts[stage].size))
            module = TorchStage(network, facts[stage], facts["big"], dtype).eval().to(device)
            yield stage, torch.export.export(module, (example,), dynamic_shapes=({0: batch},))


def _graph_sizes(config: Config) -> set[int]:
    """The batch sizes for which Triton captures a CUDA graph of an engine with this config."""
    message = config.message
    return {spec.batch_size for spec in message.optimization.cuda.graph_spec} | {1, message.max_batch_size}


def _adapt(config: Config, sizes: Sequence[int]) -> None:
    """Replace the engine by the Python backend; batching, queue and, on a GPU, instances stay as they are."""
    message = config.message
    config.comments[""] = [f"# The {message.name} stage on PyTorch instead of an engine; see experiments/README.md."]
    set_parameter(message, "graph_sizes", ",".join(map(str, sizes)))
    config.comments["parameters[graph_sizes]"] = [
        "# Batch sizes with a CUDA graph; other sizes use the next larger one."
    ]
    message.platform, message.backend = "", "python"
    message.ClearField("optimization")
    if not torch.cuda.is_available():
        for group in message.instance_group:
            group.kind = model_config_pb2.ModelInstanceGroup.KIND_CPU
