"""Triton's adapter to littlebig_lanes: encoded pictures in, canonical images out.

Requests whose pictures are all quick are answered by returning from `execute`, which costs one message for all of them.
A request with a large picture is answered through its response sender when that is decoded (a model that is not
decoupled may do so since Triton 24.06), so the instance takes new requests meanwhile.
"""

from __future__ import annotations

import asyncio  # noqa: F401  (Triton's stub imports it for the first request, which would wait for that)
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from littlebig_lanes import BadPicture, Lanes, LaneSettings, Overloaded, PendingRequest
from littlebig_preprocess import Job, PreprocessSettings
from littlebig_quoting import quoted
from littlebig_watchdog import Watchdog, end_if_clock_steps

# Overrides the parameter: a container knows its memory, a repository does not.
_BATCH_DIMS = 2
_MEMORY = "LITTLEBIG_PREPROCESS_MEMORY_MIB"


class TritonPythonModel:
    """Decodes on a few threads: Pillow releases the GIL while it works."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the settings; a wrong one fails the load with its name."""
        config = json.loads(args["model_config"])
        size = config["output"][0]["dims"][0]
        parameters = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
        if _MEMORY in os.environ:
            parameters["memory_budget_mib"] = os.environ[_MEMORY]
        instances = sum(group["count"] for group in config["instance_group"])
        try:
            settings = PreprocessSettings.from_parameters(int(size), parameters)
            lanes = LaneSettings.from_parameters(parameters, instances, settings.limits)
            self.lanes = Lanes(settings, lanes, _renderer(args, parameters))
        except ValueError as reason:
            raise pb_utils.TritonModelException(f"preprocess: {reason}") from None
        self.watchdog = Watchdog()

    @end_if_clock_steps
    def execute(self, requests: list[Any]) -> list[Any]:
        """Decode all quick pictures of all waiting requests side by side, and answer each request for itself.

        Returns:
            A response for each request, or None for those that are answered when their large pictures are decoded.
        """
        pictures = [pb_utils.get_input_tensor_by_name(request, "encoded_image").as_numpy() for request in requests]
        # Triton 24.10 lets a batch of 0 or 2^32 pictures pass, as no batch at all.
        started = [self.lanes.start(batch[:, 0]) if batch.ndim == _BATCH_DIMS else None for batch in pictures]
        del pictures
        return [self._answer(request, futures) for request, futures in zip(requests, started, strict=True)]

    def finalize(self) -> None:
        """Let the threads go."""
        self.lanes.close()
        self.watchdog.stop()

    def _answer(self, request: Any, started: Sequence[Future[Any]] | None) -> Any:
        if started is None:
            message = "input 'encoded_image' claims an impossible number of pictures: send [pictures, 1]"
            return _error(message, pb_utils.TritonError.INVALID_ARG)
        try:
            images, jobs = self.lanes.gather(started)
            if not jobs:
                return _response(images)
            sender, deadline = request.get_response_sender(), _deadline(request)

            def answer(outcome: Any) -> None:
                sender.send(_response(outcome), flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

            def wanted() -> bool:
                return time.monotonic() < deadline and not request.is_cancelled()

            self.lanes.wait(PendingRequest(images, jobs, answer, wanted))
        except BadPicture as reason:
            return _response(reason)
        except Overloaded as reason:
            return _error(str(reason), pb_utils.TritonError.UNAVAILABLE)
        return None


def _renderer(args: dict[str, str], parameters: Mapping[str, str]) -> Callable[[Job], Any]:
    """What makes a picture's canonical image, on the device of the instance."""
    decoder = parameters.get("decoder", "pillow")
    if decoder == "pillow":
        return Job.image
    if decoder != "nvimagecodec":
        raise ValueError(f"parameter 'decoder' = '{quoted(decoder)}' is none of pillow, nvimagecodec")
    if parameters["decode"] != "full":
        raise ValueError("parameter 'decoder' = 'nvimagecodec' goes with 'decode' = 'full': it cannot scale")
    from littlebig_nvimagecodec import NvImageCodec  # noqa: PLC0415  its packages are an extra

    gpu = int(args["model_instance_device_id"]) if args["model_instance_kind"] == "GPU" else None
    return NvImageCodec(Path(args["model_repository"]) / args["model_version"], gpu).image


def _deadline(request: Any) -> float:
    """When the caller stops waiting, by the monotonic clock."""
    timeout_us = request.timeout()
    return time.monotonic() + timeout_us / 1e6 if timeout_us else float("inf")


def _response(outcome: Any) -> Any:
    if isinstance(outcome, BadPicture):
        return _error(str(outcome), pb_utils.TritonError.INVALID_ARG)
    return pb_utils.InferenceResponse([pb_utils.Tensor("image", np.ascontiguousarray(outcome))])


def _error(message: str, code: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
