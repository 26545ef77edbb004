"""A stage whose behaviour a test sets, so that the real gate in a real tritonserver can be tried in every situation.

The first pixel of an image is little's confidence in 1/255; label 1 is little's, label 2 is big's. `behaviour.json` in the
version folder may set:

    seconds    per image, before it answers
    error      the text of an error that it returns
    once       whether it behaves so for one request only
    wait_for   a file that must exist before it answers
    announce   a file that it makes when it is called
    rows       the number of rows it answers, whatever it was asked
"""

import json
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """Little or big, by the model's name."""

    def initialize(self, args):
        self.little = args["model_name"] == "little"
        self.file = Path(args["model_repository"]) / args["model_version"] / "behaviour.json"

    def execute(self, requests):
        behaviour = json.loads(self.file.read_text()) if self.file.exists() else {}
        return [self.answer(request, behaviour) for request in requests]

    def answer(self, request, behaviour):
        images = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
        if behaviour.get("once"):
            self.file.unlink()
        if "announce" in behaviour:
            Path(behaviour["announce"]).touch()
        time.sleep(behaviour.get("seconds", 0) * len(images))
        while "wait_for" in behaviour and not Path(behaviour["wait_for"]).exists():
            time.sleep(0.01)
        if "error" in behaviour:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(behaviour["error"]))
        confidence = (
            images[:, 0, 0, :1].astype(np.float32) / 255 if self.little else np.full((len(images), 1), 0.6, "f4")
        )
        outputs = {
            "label": np.full((len(images), 1), 1 if self.little else 2, np.int32),
            "confidence": confidence,
            "margin": 1 - confidence,
            "probabilities": np.tile(confidence, (1, 5)),
        }
        if "rows" in behaviour:
            outputs = {name: np.resize(array, (behaviour["rows"], *array.shape[1:])) for name, array in outputs.items()}
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, outputs[name]) for name in request.requested_output_names()]
        )
