"""Triton's adapter to littlebig_preprocess: encoded pictures in, canonical images out."""

from __future__ import annotations

import asyncio  # noqa: F401  (Triton's stub imports it for the first request, which would wait for that)
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from littlebig_preprocess import BadImage, Settings, canonical_image


class TritonPythonModel:
    """Decodes on as many threads as there are cores: Pillow releases the GIL while it works."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the settings; a wrong one fails the load with its name."""
        config = json.loads(args["model_config"])
        size = config["output"][0]["dims"][0]
        parameters = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
        try:
            self.settings = Settings.from_parameters(int(size), parameters)
        except ValueError as reason:
            raise pb_utils.TritonModelException(f"preprocess: {reason}") from None
        self.pool = ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0)), thread_name_prefix="decode")

    def execute(self, requests: list[Any]) -> list[Any]:
        """Decode all pictures of all waiting requests side by side, and answer each request for itself."""
        pictures = [pb_utils.get_input_tensor_by_name(request, "encoded_image").as_numpy() for request in requests]
        waiting = [
            [self.pool.submit(canonical_image, item, self.settings) for item in batch[:, 0]] for batch in pictures
        ]
        return [self._answer(decoding) for decoding in waiting]

    def finalize(self) -> None:
        """Let the threads go."""
        self.pool.shutdown()

    def _answer(self, decoding: list[Any]) -> Any:
        images = np.empty((len(decoding), self.settings.size, self.settings.size, 3), np.uint8)
        for position, picture in enumerate(decoding):
            try:
                images[position] = picture.result()
            except BadImage as reason:
                error = pb_utils.TritonError(f"encoded_image[{position}] {reason}", pb_utils.TritonError.INVALID_ARG)
                return pb_utils.InferenceResponse(error=error)
        return pb_utils.InferenceResponse([pb_utils.Tensor("image", images)])
