"""Kubernetes probes: whether a server has started, accepts requests, or must be restarted.

Triton's health endpoints cannot tell the last two: they return 200 even after the Python process of the gate has died,
and Triton (24.10) does not start it again. So the probes send an encoded picture through `classify`.

startup   the models of the cascade are loaded, and `classify` answers
ready     little answers an image, and big answers one where it is required
live      no Python process is dead or hangs; overload, a failed stage and a stopping server do not fail this probe
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from PIL import Image
from tritonclient.utils import InferenceServerException

from littlebig_client._connection import Tls, connection
from littlebig_client._errors import ProbeFailed
from littlebig_client._failures import status_of, unreachable
from littlebig_client._options import check_seconds
from littlebig_client._tensors import picture_tensor
from littlebig_client._triton_messages import is_busy, is_closed_to_clients, is_dead, is_stopping

_ENSEMBLE, _PREPROCESS, _GATE, _BIG = "classify", "preprocess", "little_big", "big"
_MODELS = ("little", _GATE, _PREPROCESS, _ENSEMBLE)
_POLL_SECONDS = 0.1
# Fraction of the remaining time that one image may take; the rest shows whether the model answers other requests.
_IMAGE_FRACTION = 0.7


class Probe:
    """A probe of one server, for a single use.

    Args:
        url: host:port of Triton's gRPC endpoint.
        timeout: seconds for the whole probe.
        big_required: whether the probe fails without a working big stage.
        only: the stage of a server that has no other model; `big_required` has no meaning then.
        tls: as `Client`, and so are the others.
        token: a bearer token.
        metadata: gRPC metadata of every call.
        compression: of what is sent.
    """

    def __init__(
        self,
        url: str | None = None,
        timeout: float = 4.0,
        *,
        big_required: bool = True,
        only: str | None = None,
        tls: bool | Tls | None = None,
        token: str | None = None,
        metadata: Mapping[str, str] | None = None,
        compression: str | None = None,
    ) -> None:
        """Prepare the connection.

        Raises:
            InvalidRequest: a setting is invalid.
        """
        way = connection(url, tls=tls, token=token, metadata=metadata, compression=compression)
        self._url = way.url
        self._timeout = check_seconds("timeout", timeout)
        self._deadline = time.monotonic() + self._timeout
        self._big_required = big_required and only is None
        self._models = _MODELS if only is None else (only,)
        # What an image goes through, and its policy.
        self._entry = only or _ENSEMBLE
        self._policy = None if only else "little"
        self._connection = way
        self._triton = way.open()

    def startup(self) -> None:
        """Return if every model of the cascade is ready, and `classify` answers a picture.

        Raises:
            ProbeFailed: names the model that is not.
        """
        # Triton's own readiness requires every model, but big may be optional.
        for model in (*self._models, *([_BIG] if self._big_required else [])):
            if not self._query("is_model_ready", model):
                raise ProbeFailed(f"model '{model}' at {self._url} is not ready: the server's log says why")
        self._check_answers(self._entry, self._policy, must_succeed=True)

    def ready(self) -> None:
        """Return if little answers a picture, and big answers an image where it is required.

        Raises:
            ProbeFailed: names the stage and the reason.
        """
        self._check_answers(self._entry, self._policy, must_succeed=True)
        if self._big_required:
            self._check_answers(_GATE, "big", must_succeed=True)

    def live(self) -> None:
        """Return unless the server needs a restart.

        big is called directly: through the gate, the circuit breaker would hide a dead process.

        Raises:
            ProbeFailed: nothing answers, or a Python process is dead or hangs.
        """
        try:
            self._check_answers(self._entry, self._policy, must_succeed=False)
            if self._big_required and self._query("is_model_ready", _BIG):
                self._check_answers(_BIG, None, must_succeed=False)
        except _Stopping:
            return

    def _check_answers(self, model: str, policy: str | None, *, must_succeed: bool) -> None:
        """Classify a blank image once per instance of the model: an idle server uses each instance in turn."""
        image = _blank_picture() if model == _ENSEMBLE else self._blank_image(model)
        answered_before = self._answer_counts(model)
        for _ in range(self._instance_count(model)):
            try:
                self._infer(model, image, {} if policy is None else {"policy": policy})
            except InferenceServerException as failure:
                self._judge(failure, model, answered_before, must_succeed=must_succeed)
                return

    def _judge(
        self, failure: InferenceServerException, model: str, answered_before: list[int], *, must_succeed: bool
    ) -> None:
        """Raise ProbeFailed, unless the model can recover from the failure by itself."""
        message = failure.message() or "no message"
        status = status_of(failure)
        if is_stopping(message):
            raise _Stopping(f"the server at {self._url} is stopping: {message}")
        if is_dead(message):
            raise ProbeFailed(f"a Python process of the server at {self._url} is dead: {message}")
        late = status in ("DEADLINE_EXCEEDED", "UNAVAILABLE")
        if late and (is_busy(message) or status == "DEADLINE_EXCEEDED"):
            # The model is dead or overloaded. An overloaded model still answers other requests.
            if not self._still_answers(model, answered_before):
                raise ProbeFailed(
                    f"model '{model}' at {self._url} hangs: no request was answered within {self._timeout:g} s"
                )
        elif late:
            raise self._unreachable(failure)
        elif must_succeed:
            raise ProbeFailed(f"the server at {self._url} fails: {message}")

    def _still_answers(self, model: str, answered_before: list[int]) -> bool:
        """Whether a model, and each part of the ensemble, answers further requests before the deadline."""
        while True:
            counts = zip(self._answer_counts(model), answered_before, strict=True)
            if all(now > before for now, before in counts):
                return True
            if time.monotonic() >= self._deadline:
                return False
            time.sleep(_POLL_SECONDS)

    def _answer_counts(self, model: str) -> list[int]:
        """Requests that a model has answered; one count per part of the ensemble, whose parts other callers use too."""
        statistics = (self._query("get_inference_statistics", part).model_stats[0] for part in _parts(model))
        return [int(each.inference_stats.success.count) for each in statistics]

    def _instance_count(self, model: str) -> int:
        """Processes of a model; of the ensemble, those of the part with the most."""
        configs = (self._query("get_model_config", part).config for part in _parts(model))
        return max(1, *(sum(int(group.count) for group in config.instance_group) for config in configs))

    def _blank_image(self, model: str) -> triton.InferInput:
        """`image` UINT8 [1, H, W, 3] of zeros, in the size of the model's metadata."""
        shape = next(
            (
                list(tensor.shape)[1:]
                for tensor in self._query("get_model_metadata", model).inputs
                if tensor.name == "image"
            ),
            None,
        )
        if shape is None:
            raise ProbeFailed(f"model '{model}' at {self._url} has no input 'image': this is no Little-Big repository")
        blank: NDArray[np.uint8] = np.zeros([1, *shape], np.uint8)
        return triton.InferInput("image", list(blank.shape), "UINT8").set_data_from_numpy(blank)

    def _query(self, method: str, *arguments: Any) -> Any:
        """Call a method of Triton that computes nothing.

        Raises:
            ProbeFailed: the call fails.
        """
        try:
            return getattr(self._triton, method)(*arguments, client_timeout=self._remaining_s())
        except InferenceServerException as failure:
            message = failure.message() or "no message"
            if is_stopping(message):
                raise _Stopping(f"the server at {self._url} is stopping: {message}") from failure
            if status_of(failure) in ("UNAVAILABLE", "DEADLINE_EXCEEDED") and not is_closed_to_clients(message):
                raise self._unreachable(failure) from failure
            raise ProbeFailed(f"the server at {self._url} fails: {message}") from failure

    def _infer(self, model: str, image: triton.InferInput, parameters: dict[str, str]) -> Any:
        timeout = self._remaining_s() * _IMAGE_FRACTION
        return self._triton.infer(model, [image], parameters=parameters, client_timeout=timeout)

    def _remaining_s(self) -> float:
        return max(self._deadline - time.monotonic(), _POLL_SECONDS)

    def _unreachable(self, failure: InferenceServerException) -> ProbeFailed:
        return ProbeFailed(unreachable(self._connection, failure, self._timeout).message)

    def close(self) -> None:
        """Close the connection."""
        self._triton.close()

    def __enter__(self) -> Probe:
        """Return the probe."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()


def _parts(model: str) -> tuple[str, ...]:
    return (_PREPROCESS, _GATE) if model == _ENSEMBLE else (model,)


def _blank_picture() -> triton.InferInput:
    """`encoded_image` BYTES [1, 1] of a small grey JPEG."""
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(buffer, "JPEG")
    return picture_tensor(buffer.getvalue()).with_data()


class _Stopping(ProbeFailed):
    """The server stops: it is not ready, but needs no restart."""
