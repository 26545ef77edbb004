"""Writes a model repository again with its stages on PyTorch: networks scripted, configs changed where they must be."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import timm.data
import torch
from google.protobuf import text_format
from torch import nn
from tritonclient.grpc import model_config_pb2

from littlebig_benchmarks.errors import ScenarioError
from littlebig_benchmarks.serving import read_config
from littlebig_export.pair import Pair, TimmModel
from littlebig_export.preprocessing import Preprocessing, view_box
from littlebig_export.resampling import resampling_matrix
from littlebig_export.weights import load_timm

STAGES = ("little", "big")
_MODEL = Path(__file__).parent / "model.py"


class Stage(nn.Module):  # type: ignore[misc]  # torch is not installed for a lint run
    """What `littlebig_export.stage_graph` builds, in PyTorch: canonical images in, a stage's four outputs out."""

    def __init__(self, network: nn.Module, model: Preprocessing, canonical: Preprocessing, dtype: torch.dtype) -> None:
        """Put a network, which becomes `dtype`, between the canonical image and the outputs; all else is FP32."""
        super().__init__()
        self.network = network.to(dtype=dtype, memory_format=torch.channels_last)
        self.dtype = dtype
        start, end = view_box(canonical, model)
        self.resampled = (start, end, model.size) != (0.0, float(canonical.size), canonical.size)
        matrix = resampling_matrix(canonical.size, model.size, model.interpolation, (start, end))
        self.register_buffer("matrix", torch.from_numpy(matrix))
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (model.mean, model.std))
        self.register_buffer("scale", 1.0 / (255.0 * std))
        self.register_buffer("shift", -mean / std)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Canonical images, uint8 [N, H, W, 3] -> label int32, confidence, margin float32 [N, 1], probabilities."""
        pixels = image.permute(0, 3, 1, 2).to(torch.float32)
        if self.resampled:
            matrix: torch.Tensor = self.matrix
            pixels = (pixels @ matrix.T).round().clamp(0.0, 255.0)
            pixels = (matrix @ pixels).round().clamp(0.0, 255.0)
        view = (pixels * self.scale + self.shift).to(dtype=self.dtype, memory_format=torch.channels_last)
        probabilities = self.network(view).to(torch.float32).softmax(-1)
        top, labels = probabilities.topk(2, dim=-1)
        return labels[:, :1].to(torch.int32), top[:, :1], top[:, :1] - top[:, 1:], probabilities


def write(pair: Pair, repository: Path, output: Path, tell: Callable[[str], None]) -> None:
    """Write a repository like another one, with the stages on PyTorch.

    Args:
        pair: whose stages they are; both models from timm.
        repository: of that pair, exported for any target; it is left as it is.
        output: the new one; must not exist.
        tell: called with one line per step.

    Raises:
        ScenarioError: if a stage of the pair is an ONNX file, or the output exists.
        ExportError: if a network or its weights cannot be had.
    """
    if output.exists():
        raise ScenarioError(f"'{output}' exists: remove it, or choose another --output")
    models = {"little": pair.little, "big": pair.big}
    for stage, model in models.items():
        if not isinstance(model, TimmModel):
            raise ScenarioError(f"{stage} of pair '{pair.name}' is an ONNX file: only timm's models run on PyTorch")
    networks = {stage: load_timm(model) for stage, model in models.items() if isinstance(model, TimmModel)}
    facts = {
        stage: Preprocessing.from_timm(timm.data.resolve_model_data_config(network))
        for stage, network in networks.items()
    }
    shutil.copytree(repository, output, ignore=shutil.ignore_patterns("model.onnx*", "model.plan"))
    configs = {stage: read_config(output / stage / "config.pbtxt") for stage in STAGES}
    sizes = sorted(set().union(*(_graph_sizes(config) for config in configs.values())))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Most operators have no half-precision kernel on a CPU.
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    for stage in STAGES:
        module = Stage(networks[stage], facts[stage], facts["big"], dtype).eval().to(device)
        size = facts["big"].size
        example = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8, device=device)
        with torch.inference_mode(), warnings.catch_warnings():
            # TorchScript is what PyTorch advises against for new models; here it is a file that needs no timm to load.
            warnings.simplefilter("ignore", FutureWarning)
            scripted = torch.jit.freeze(torch.jit.trace(module, example, check_trace=False))
        folder = output / stage
        for old in (folder / "1").iterdir():
            old.unlink()
        scripted.save(str(folder / "1" / "stage.pt"))
        shutil.copyfile(_MODEL, folder / "1" / "model.py")
        _adapt(configs[stage], sizes)
        (folder / "config.pbtxt").write_text(text_format.MessageToString(configs[stage]), encoding="utf-8")
        tell(f"{stage}: {type(networks[stage]).__name__}, {dtype}, on {device}")


def _graph_sizes(config: Any) -> set[int]:
    """The batches for which an engine of this config captures a CUDA graph; Triton adds the largest."""
    return {spec.batch_size for spec in config.optimization.cuda.graph_spec} | {1, config.max_batch_size}


def _adapt(config: Any, sizes: Sequence[int]) -> None:
    """Python in the place of the engine; batching, queue and, where there is a GPU, instances stay the engine's."""
    config.parameters["graph_sizes"].string_value = ",".join(map(str, sizes))
    config.platform, config.backend = "", "python"
    config.ClearField("optimization")
    if not torch.cuda.is_available():
        for group in config.instance_group:
            group.kind = model_config_pb2.ModelInstanceGroup.KIND_CPU
