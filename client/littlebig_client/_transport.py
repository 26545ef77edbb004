"""The one place that speaks gRPC: asks Triton and turns its statuses into this package's errors."""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from littlebig_client._errors import (
    ClientError,
    InvalidRequest,
    ModelNotServed,
    RequestRejected,
    ServerFailure,
    ServerTimeout,
    ServerUnreachable,
)
from littlebig_client._options import Options
from littlebig_client._triton_says import busy, stopping

_CHANNEL = [
    # As tritonclient's own default: gRPC's 4 MiB would refuse a large photograph.
    ("grpc.max_send_message_length", triton.MAX_GRPC_MESSAGE_SIZE),
    ("grpc.max_receive_message_length", triton.MAX_GRPC_MESSAGE_SIZE),
    # gRPC waits up to two minutes before it tries a lost server again; a restarted Triton is back sooner.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A name may stand for several servers (a headless Service): each gets its share, and one that goes away is left out
    # and looked up again. By default gRPC would stay with the first, and look a name up every 30 s at most.
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
    ("grpc.dns_min_time_between_resolutions_ms", 5000),
]

# Seconds between two attempts, doubled each time.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5

_OUTPUTS = ("label", "confidence", "stage")


class Transport:
    """A gRPC channel to one server. Safe to use from several threads."""

    def __init__(self, url: str, timeout: float, connect_timeout: float, retry_for: float) -> None:
        """Prepare the channel; nothing is sent yet.

        Args:
            url: host:port of Triton's gRPC endpoint, or any gRPC target.
            timeout: seconds for one request, all its attempts together.
            connect_timeout: seconds for the first sign of life of a server not heard from yet.
            retry_for: seconds for which a request is sent again when its server stops or is lost.
        """
        self.url = url
        self._timeout = timeout
        self._connect_timeout = min(connect_timeout, timeout)
        self._retry_for = retry_for
        self._triton = triton.InferenceServerClient(url, channel_args=_CHANNEL)
        self._connected = False
        self._closed = False

    def close(self) -> None:
        """Close the channel; requests in flight fail at once."""
        self._closed = True
        self._triton.close()

    def infer(self, model: str, tensor: triton.InferInput, options: Options) -> Any:
        """Ask a model about one image.

        Returns:
            tritonclient's InferResult: `label`, `confidence`, `stage`, and `probabilities` as top-k texts.

        Raises:
            ClientError: the class that `_errors` names for the gRPC status.
        """
        outputs = [triton.InferRequestedOutput(name) for name in _OUTPUTS]
        # Triton's classification extension: k texts with names come back instead of all probabilities.
        outputs.append(triton.InferRequestedOutput("probabilities", class_count=int(options.top_k)))
        return self._ask(
            self._timeout,
            "infer",
            model,
            inputs=[tensor],
            outputs=outputs,
            timeout=options.timeout_us(),
            parameters=options.parameters(),
        )

    def input_shape(self, model: str, name: str) -> tuple[int, ...]:
        """The shape of a model's input without the batch dimension, from the model's metadata.

        Raises:
            ClientError: as `infer`; ServerFailure if the model has no such input.
        """
        metadata = self._ask(self._timeout, "get_model_metadata", model)
        for tensor in metadata.inputs:
            if tensor.name == name:
                return tuple(int(size) for size in tensor.shape[1:])
        raise ServerFailure(f"model '{model}' at {self.url} has no input '{name}'", status="OK")

    def model_ready(self, model: str, timeout: float) -> bool:
        """Whether the model is loaded and takes requests, asked for at most `timeout` seconds.

        Raises:
            ClientError: as `infer`.
        """
        return bool(self._ask(timeout, "is_model_ready", model))

    def _ask(self, patience: float, call: str, *arguments: Any, **settings: Any) -> Any:
        """One call, sent again while its server goes away: to another one, or to the same one's successor."""
        asked = time.monotonic()
        give_up, pause = asked + min(self._retry_for, patience), _FIRST_PAUSE
        while True:
            try:
                self._connect(min(patience, self._connect_timeout))
                left = max(asked + patience - time.monotonic(), _FIRST_PAUSE)
                return self._call(left, call, *arguments, **settings)
            except InferenceServerException as failure:
                if not _goes_away(failure) or time.monotonic() + pause > give_up:
                    raise self._error(failure, patience) from failure
            # Clients that lost the same server must not come back in step.
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  (nothing secret about it)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _connect(self, timeout: float) -> None:
        # An address that swallows packets would otherwise cost a whole request timeout, and then look like a
        # slow model.
        if self._connected:
            return
        try:
            self._call(timeout, "is_server_live")
        except InferenceServerException as failure:
            if stopping(failure.message()):
                raise
            raise self._unreachable() from failure
        self._connected = True

    def _call(self, patience: float, call: str, *arguments: Any, **settings: Any) -> Any:
        try:
            return getattr(self._triton, call)(*arguments, client_timeout=patience, **settings)
        except ValueError:  # gRPC's answer on a closed channel
            if self._closed:
                raise self._closed_error() from None
            raise

    def _error(self, failure: InferenceServerException, timeout: float) -> ClientError:  # noqa: PLR0911  (one per status)
        status = (failure.status() or "StatusCode.UNKNOWN").removeprefix("StatusCode.")
        said = failure.message() or "no message"
        if status == "CANCELLED" and self._closed:
            return self._closed_error()
        if stopping(said) or status == "CANCELLED":  # not by us: a server that ends drops what it has taken
            return ServerFailure(f"the server is stopping ({status}): {said}", status)
        if status == "INVALID_ARGUMENT":
            return RequestRejected(said)
        if status == "DEADLINE_EXCEEDED":
            return ServerTimeout(
                f"no answer from {self.url} within {timeout:g} s: raise the timeout, or send fewer requests at a time"
            )
        if status == "NOT_FOUND":
            return ModelNotServed(
                f"the Triton server at {self.url} does not serve a Little-Big repository: {said}", status
            )
        if status == "UNAVAILABLE" and not self._is_live():
            self._connected = False
            return self._unreachable()
        return ServerFailure(f"the server failed ({status}): {said}", status)

    def _is_live(self) -> bool:
        # UNAVAILABLE is both "nobody there" (from gRPC) and "queue full" (from Triton): only asking tells.
        try:
            return bool(self._call(self._connect_timeout, "is_server_live"))
        except (ClientError, InferenceServerException):
            return False

    def _unreachable(self) -> ServerUnreachable:
        return ServerUnreachable(
            f"no Triton server answers gRPC at {self.url}: is it running there (littlebig serve), "
            "and is this its gRPC port?"
        )

    @staticmethod
    def _closed_error() -> InvalidRequest:
        return InvalidRequest("this client is closed: make a new one")


def _goes_away(failure: InferenceServerException) -> bool:
    """Whether a server stops, or its connection was lost; not whether it has too much to do."""
    if failure.status() == "StatusCode.CANCELLED":  # by us only when the client is closed, which the next attempt finds
        return True
    lost = failure.status() == "StatusCode.UNAVAILABLE" and not busy(failure.message())
    return lost or stopping(failure.message())


def picture_tensor(data: bytes) -> triton.InferInput:
    """`encoded_image` BYTES [1,1] of one encoded picture."""
    tensor = triton.InferInput("encoded_image", [1, 1], "BYTES")
    return tensor.set_data_from_numpy(np.array([[data]], dtype=np.object_))


def canonical_tensor(array: NDArray[np.uint8]) -> triton.InferInput:
    """`image` UINT8 [1,H,W,3] of one canonical image."""
    tensor = triton.InferInput("image", [1, *array.shape], "UINT8")
    return tensor.set_data_from_numpy(array[np.newaxis])
