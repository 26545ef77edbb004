"""A stage that another server computes: forwards merged batches by gRPC, for the gate a stage like any other.

Copied into a repository by `littlebig export --big-url`; tensors and batching are those of the local stage.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from littlebig_remote import RemoteStage, Unreachable, WrongModel
from littlebig_remote_settings import BadSetting, RemoteSettings
from littlebig_watchdog import Watchdog, end_if_clock_steps

_BATCH_DIMS = 4
# Seconds for the comparison at load.
_LOAD_TIMEOUT_S = 5.0
# Seconds by which a call outlives its limit, so that the gate sees a slow stage time out, as it does a local one.
_GRACE_S = 1.0


class TritonPythonModel:
    """Forwards to a stage's server."""

    def initialize(self, args: dict[str, str]) -> None:
        """Compare the served stage with this repository; another one fails the load.

        A server that does not answer fails it only where the parameter `required` says so: the gate answers sure
        images without big.
        """
        config, name = json.loads(args["model_config"]), args["model_name"]
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        variable = f"LITTLEBIG_{name.upper()}_URL"  # a chart knows the address better than the repository
        url = os.environ.get(variable) or parameters.get("url", "")
        try:
            self.settings = RemoteSettings.from_parameters({**parameters, "url": url})
            self.remote = RemoteStage(name, self.settings, config)
            self.remote.check(_LOAD_TIMEOUT_S)
        except Unreachable as reason:
            if self.settings.required:
                raise pb_utils.TritonModelException(f"{name}: {reason}") from None
            pb_utils.Logger.log_warn(f"{name}: {reason}")
        except (BadSetting, WrongModel) as reason:
            where = f"environment variable '{variable}'" if os.environ.get(variable) else "parameter 'url'"
            raise pb_utils.TritonModelException(f"{name}: {reason}".replace("parameter 'url'", where)) from None
        self.watchdog = Watchdog()

    @end_if_clock_steps
    def execute(self, requests: list[Any]) -> list[Any]:
        """Forward all requests as one batch, and return None for them: they are answered when its answer is here."""
        images = [pb_utils.get_input_tensor_by_name(request, "image").as_numpy() for request in requests]
        # Triton 24.10 lets a batch of 0 or 2^32 images pass, as no batch at all.
        batched = [pixels.ndim == _BATCH_DIMS for pixels in images]
        asked = [
            (request.get_response_sender(), list(request.requested_output_names()), pixels)
            for request, pixels, ok in zip(requests, images, batched, strict=True)
            if ok
        ]
        if asked:
            limits = [request.timeout() for request, ok in zip(requests, batched, strict=True) if ok]
            timeout_s = max(limits) / 1e6 if all(limits) else self.settings.timeout_ms / 1e3
            self._forward(asked, timeout_s + _GRACE_S)
        return [None if ok else _impossible_batch() for ok in batched]

    def finalize(self) -> None:
        """Close the connection. All requests are answered when Triton calls this."""
        self.watchdog.stop()
        self.remote.close()

    def _forward(self, asked: list[tuple[Any, list[str], Any]], timeout_s: float) -> None:
        """Ask for the images of several requests, each given with its response sender and outputs."""
        images = [pixels for _, _, pixels in asked]
        batch = images[0] if len(images) == 1 else np.concatenate(images)
        names = sorted({name for _, names, _ in asked for name in names})
        waiting = [(sender, names, len(pixels)) for sender, names, pixels in asked]
        try:
            self.remote.ask(batch, names, timeout_s, partial(_answer, waiting))
        except Exception as problem:  # whatever it is, the callers must get a response
            _answer(waiting, {}, str(problem))


def _answer(waiting: list[tuple[Any, list[str], int]], outputs: Mapping[str, Any], problem: str) -> None:
    """Give each request its rows of the outputs, or the reason why there are none."""
    responses, start = [], 0
    for _, names, rows in waiting:
        share = slice(start, start + rows)
        start = share.stop
        if problem:
            responses.append(pb_utils.InferenceResponse(error=pb_utils.TritonError(problem)))
        else:
            # A copy, because the arrays are views of gRPC's read-only message.
            tensors = [pb_utils.Tensor(name, outputs[name][share].copy()) for name in names]
            responses.append(pb_utils.InferenceResponse(tensors))
    for (sender, _, _), response in zip(waiting, responses, strict=True):
        sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def _impossible_batch() -> Any:
    message = "input 'image' claims an impossible number of images: send [images, H, W, 3]"
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG))
