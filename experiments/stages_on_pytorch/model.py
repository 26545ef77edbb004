"""A stage on PyTorch with one CUDA graph per batch size; a smaller batch uses a larger graph and ignores its last rows.

Copied beside stage.pt2 by `python -m experiments.stages_on_pytorch`. Without a GPU the same module runs without graphs,
so that everything but the graphs can be tested there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton_python_backend_utils as pb_utils

OUTPUTS = ("label", "confidence", "margin", "probabilities")


@dataclass(frozen=True)
class Captured:
    """The graph of one batch size, and the memory that it reads and writes at each replay.

    Attributes:
        graph: copy in, module, copies out.
        image: on the GPU; held because PyTorch frees memory without a reference, and a graph stores only its address.
        outputs: in pinned memory.
    """

    graph: torch.cuda.CUDAGraph
    image: torch.Tensor
    outputs: dict[str, torch.Tensor]


class TritonPythonModel:
    """Runs one exported program."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the program and capture a graph for each of the sizes that config.pbtxt lists."""
        config = json.loads(args["model_config"])
        self.cuda = torch.cuda.is_available()
        device = torch.device("cuda" if self.cuda else "cpu")
        torch.set_num_threads(1)
        path = Path(args["model_repository"]) / args["model_version"] / "stage.pt2"
        self.module = torch.export.load(path).module().to(memory_format=torch.channels_last)
        self.largest = int(config["max_batch_size"])
        shape = next(tensor["dims"] for tensor in config["input"] if tensor["name"] == "image")
        self.images = torch.zeros(self.largest, *map(int, shape), dtype=torch.uint8, pin_memory=self.cuda)
        self.rows = self.images.numpy()
        sizes = sorted(map(int, config["parameters"]["graph_sizes"]["string_value"].split(",")))
        self.graphs = {size: self._capture(size, device) for size in sizes} if self.cuda else {}

    def _capture(self, size: int, device: torch.device) -> Captured:
        """Record the copy in, the module and the copies out for one batch size."""
        stream = torch.cuda.Stream()
        image = torch.empty_like(self.images[:size], device=device)
        with torch.inference_mode():
            with torch.cuda.stream(stream):
                for _ in range(3):  # libraries choose kernels and allocate before the capture
                    outputs = self.module(image)
            stream.synchronize()
            hosts = [torch.empty(output.shape, dtype=output.dtype, pin_memory=True) for output in outputs]
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream):
                image.copy_(self.images[:size], non_blocking=True)
                for host, output in zip(hosts, self.module(image), strict=True):
                    host.copy_(output, non_blocking=True)
        return Captured(graph, image, dict(zip(OUTPUTS, hosts, strict=True)))

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request with its requested outputs."""
        counts = []
        total = 0
        for request in requests:
            images = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
            counts.append(len(images))
            self.rows[total : total + len(images)] = images
            total += len(images)
        outputs = self._run(total)
        responses, start = [], 0
        for request, count in zip(requests, counts, strict=True):
            share = slice(start, start + count)
            start += count
            names = request.requested_output_names()
            responses.append(
                pb_utils.InferenceResponse([pb_utils.Tensor(name, outputs[name][share].numpy()) for name in names])
            )
        return responses

    def _run(self, total: int) -> dict[str, torch.Tensor]:
        if not self.cuda:
            with torch.inference_mode():
                return dict(zip(OUTPUTS, self.module(self.images[:total]), strict=True))
        captured = self.graphs[min(size for size in self.graphs if size >= total)]
        captured.graph.replay()
        torch.cuda.current_stream().synchronize()
        return captured.outputs
