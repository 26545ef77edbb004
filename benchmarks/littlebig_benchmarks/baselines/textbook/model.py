"""The textbook BLS cascade: for each request little, then big if little is unsure, then the next request.

This is how NVIDIA's BLS example composes two models, and what most published cascades do.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Handles one request at a time."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the threshold and the score that is compared with it."""
        parameters = json.loads(args["model_config"])["parameters"]
        self.threshold = float(parameters["threshold"]["string_value"])
        self.score = parameters["score"]["string_value"]

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests one after another."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        image = pb_utils.get_input_tensor_by_name(request, "image")
        wanted = [name for name in request.requested_output_names() if name != "stage"]
        stage = 0
        answer = _ask("little", image, sorted({self.score, *wanted}))
        if not answer.has_error():
            score = pb_utils.get_output_tensor_by_name(answer, self.score).as_numpy()
            if (score < self.threshold).any():
                stage = 1
                answer = _ask("big", image, wanted)
        if answer.has_error():
            return pb_utils.InferenceResponse(error=answer.error())
        tensors = [pb_utils.get_output_tensor_by_name(answer, name) for name in wanted]
        stages = np.full((len(image.as_numpy()), 1), stage, np.int32)
        return pb_utils.InferenceResponse([*tensors, pb_utils.Tensor("stage", stages)])


def _ask(stage: str, image: Any, outputs: list[str]) -> Any:
    call = pb_utils.InferenceRequest(
        model_name=stage,
        requested_output_names=outputs,
        inputs=[image],
        preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
    )
    return call.exec()
