"""A stage that computes nothing: its confidence is the image's first byte over 255, which the load sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

CLASSES = 1000


class TritonPythonModel:
    """Answers at once."""

    def execute(self, requests: list[Any]) -> list[Any]:
        """Return one response per request, with the requested outputs."""
        responses = []
        for request in requests:
            images = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
            confidence = images[:, 0, 0, :1].astype(np.float32) / 255
            outputs = {
                "label": np.zeros((len(images), 1), np.int32),
                "confidence": confidence,
                "margin": confidence,
            }
            if "probabilities" in request.requested_output_names():
                outputs["probabilities"] = np.zeros((len(images), CLASSES), np.float32)
            tensors = [pb_utils.Tensor(name, outputs[name]) for name in request.requested_output_names()]
            responses.append(pb_utils.InferenceResponse(tensors))
        return responses
