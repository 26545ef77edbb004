"""A stage on ONNX Runtime, for machines without a GPU: Triton's Python backend in the place of a TensorRT engine.

Copied beside model.onnx by `littlebig export --target cpu`; tensors and batching are those of the engine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils
from littlebig_watchdog import Watchdog, end_if_clock_steps

_BATCH_DIMS = 4


class TritonPythonModel:
    """Runs one ONNX graph."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the graph with the number of threads that config.pbtxt gives."""
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(parameters["threads"])
        # Idle threads must sleep, not spin: the other stage needs their cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # INT8 stages answer on any CPU as they were calibrated: without this, products overflow where there is no VNNI.
        options.add_session_config_entry("session.x64quantprecision", "1")
        graph = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        # What the batcher prefers to hand over is what one run takes.
        self.images_per_run = max(config["dynamic_batching"]["preferred_batch_size"])
        # On Linux a priority is a thread's. Only the one that computes gives way: a thread that kept Python's lock
        # and got no CPU time would stop the watchdog's.
        self.worker = ThreadPoolExecutor(1, initializer=os.nice, initargs=(int(parameters.get("nice", "0")),))
        providers = ["CPUExecutionProvider"]
        self.session = self._compute(partial(onnxruntime.InferenceSession, str(graph), options, providers=providers))
        self.watchdog = Watchdog()

    @end_if_clock_steps
    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request with the outputs it asked for."""
        images = [pb_utils.get_input_tensor_by_name(request, "image").as_numpy() for request in requests]
        # Triton 24.10 lets a batch of 0 or 2^32 images pass, as no batch at all.
        asked = [
            (request, pixels) for request, pixels in zip(requests, images, strict=True) if pixels.ndim == _BATCH_DIMS
        ]
        responses = iter(self._responses(asked))
        return [next(responses) if pixels.ndim == _BATCH_DIMS else _impossible_batch() for pixels in images]

    def _responses(self, asked: list[tuple[Any, Any]]) -> list[Any]:
        """The responses to requests, each given with its images."""
        if not asked:
            return []
        wanted = [request.requested_output_names() for request, _ in asked]
        names = sorted({name for names in wanted for name in names})
        images = [pixels for _, pixels in asked]
        batch = images[0] if len(images) == 1 else np.concatenate(images)
        starts = range(0, len(batch), self.images_per_run)
        parts = [{"image": batch[at : at + self.images_per_run]} for at in starts]
        runs = self._compute(lambda: [self.session.run(names, part) for part in parts])
        outputs = {name: np.concatenate(values) for name, values in zip(names, zip(*runs, strict=True), strict=True)}
        responses, start = [], 0
        for request_names, request_images in zip(wanted, images, strict=True):
            share = slice(start, start + len(request_images))
            start = share.stop
            tensors = [pb_utils.Tensor(name, outputs[name][share]) for name in request_names]
            responses.append(pb_utils.InferenceResponse(tensors))
        return responses

    def _compute(self, work: Callable[[], Any]) -> Any:
        """The result of `work`, which the worker thread does."""
        return self.worker.submit(work).result()

    def finalize(self) -> None:
        """Stop the threads."""
        self.watchdog.stop()
        self.worker.shutdown()


def _impossible_batch() -> Any:
    message = "input 'image' claims an impossible number of images: send [images, H, W, 3]"
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG))
