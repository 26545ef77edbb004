"""A stage that does as it is told, so that the real gate in a real tritonserver can be tried in every situation.

The first pixel of an image is its confidence in 1/255 for little; label 1 is little's, label 2 is big's. The file
`behaviour.json` beside this one may say `seconds` (per image), `error` (a text), `wait_for` (a file that lets it go on),
`announce` (a file that it makes when it is asked), and `rows` (how many images it answers, however many it is asked).
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
        self.behaviour = Path(args["model_repository"]) / args["model_version"] / "behaviour.json"

    def execute(self, requests):
        told = json.loads(self.behaviour.read_text()) if self.behaviour.exists() else {}
        return [self.answer(request, told) for request in requests]

    def answer(self, request, told):
        images = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
        if "announce" in told:
            Path(told["announce"]).touch()
        time.sleep(told.get("seconds", 0) * len(images))
        while "wait_for" in told and not Path(told["wait_for"]).exists():
            time.sleep(0.01)
        if "error" in told:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(told["error"]))
        confidence = (
            images[:, 0, 0, :1].astype(np.float32) / 255 if self.little else np.full((len(images), 1), 0.6, "f4")
        )
        made = {
            "label": np.full((len(images), 1), 1 if self.little else 2, np.int32),
            "confidence": confidence,
            "margin": 1 - confidence,
            "probabilities": np.tile(confidence, (1, 5)),
        }
        if "rows" in told:
            made = {name: np.resize(array, (told["rows"], *array.shape[1:])) for name, array in made.items()}
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, made[name]) for name in request.requested_output_names()]
        )
