"""Sends requests over gRPC and turns Triton's statuses into this package's errors."""

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
from littlebig_client._images import DEFAULT_MAX_BYTES
from littlebig_client._options import Options
from littlebig_client._triton_messages import is_busy, is_stopping

_CHANNEL = [
    # tritonclient's own default: gRPC's 4 MiB would refuse a large photograph.
    ("grpc.max_send_message_length", triton.MAX_GRPC_MESSAGE_SIZE),
    ("grpc.max_receive_message_length", triton.MAX_GRPC_MESSAGE_SIZE),
    # By default gRPC waits up to two minutes before it reconnects; Triton restarts faster.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A name may stand for several servers (a headless Service): spread requests over all of them, drop those that
    # disappear, and resolve the name again. By default gRPC uses the first address and resolves every 30 s at most.
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
    ("grpc.dns_min_time_between_resolutions_ms", 5000),
]

# Seconds between two attempts; doubled each time, up to the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5

_OUTPUTS = ("label", "confidence", "stage")


class Transport:
    """A gRPC channel to one target. Safe to use from several threads."""

    def __init__(self, url: str, timeout: float, connect_timeout: float, retry_for: float) -> None:
        """Prepare the channel. Nothing is sent yet.

        Args:
            url: host:port of Triton's gRPC endpoint, or any gRPC target.
            timeout: seconds for one request, including its retries.
            connect_timeout: seconds for the first response of a server that has not responded before.
            retry_for: seconds during which a request is retried when its server stops or the connection is lost.
        """
        self.url = url
        self._timeout = timeout
        self._connect_timeout = min(connect_timeout, timeout)
        self._retry_for = retry_for
        self._triton = triton.InferenceServerClient(url, channel_args=_CHANNEL)
        self._connected = False
        self._closed = False
        self._max_bytes: int | None = None

    def close(self) -> None:
        """Close the channel. Requests in flight fail at once."""
        self._closed = True
        self._triton.close()

    def infer(self, model: str, tensor: triton.InferInput, options: Options) -> Any:
        """Send one image to a model.

        Returns:
            tritonclient's InferResult with `label`, `confidence`, `stage`, and `probabilities` as top-k texts.

        Raises:
            ClientError: the class that `_errors` lists for the gRPC status.
        """
        outputs = [triton.InferRequestedOutput(name) for name in _OUTPUTS]
        # Triton's classification extension returns k texts with names instead of all probabilities.
        outputs.append(triton.InferRequestedOutput("probabilities", class_count=int(options.top_k)))
        return self._call_with_retries(
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
        metadata = self._call_with_retries(self._timeout, "get_model_metadata", model)
        for tensor in metadata.inputs:
            if tensor.name == name:
                return tuple(int(size) for size in tensor.shape[1:])
        raise ServerFailure(f"model '{model}' at {self.url} has no input '{name}'", status="OK")

    def max_picture_bytes(self) -> int:
        """The longest encoded picture that the server accepts, in bytes; the reference's if the server does not say."""
        if self._max_bytes is None:
            try:
                config = self._call_with_retries(self._timeout, "get_model_config", "preprocess").config
                self._max_bytes = int(config.parameters["max_bytes"].string_value)
            except (ClientError, ValueError):
                return DEFAULT_MAX_BYTES
        return self._max_bytes

    def model_ready(self, model: str, timeout: float) -> bool:
        """Whether the model is loaded and accepts requests; takes at most `timeout` seconds.

        Raises:
            ClientError: as `infer`.
        """
        return bool(self._call_with_retries(timeout, "is_model_ready", model))

    def _call_with_retries(self, limit_s: float, method: str, *arguments: Any, **settings: Any) -> Any:
        """Call Triton; retry while the server stops or is lost, on another server or on the restarted one."""
        start = time.monotonic()
        retry_until, pause = start + min(self._retry_for, limit_s), _FIRST_PAUSE
        while True:
            try:
                self._connect(min(limit_s, self._connect_timeout))
                remaining = max(start + limit_s - time.monotonic(), _FIRST_PAUSE)
                return self._call(remaining, method, *arguments, **settings)
            except InferenceServerException as failure:
                if not _may_retry(failure) or time.monotonic() + pause > retry_until:
                    raise self._error(failure, limit_s) from failure
            # Jitter keeps clients that lost the same server from returning in step.
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311  (not used for security)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _connect(self, timeout: float) -> None:
        # Without this check, an address that drops packets would take a whole request timeout and look like a
        # slow model.
        if self._connected:
            return
        try:
            self._call(timeout, "is_server_live")
        except InferenceServerException as failure:
            if is_stopping(failure.message()):
                raise
            raise self._unreachable() from failure
        self._connected = True

    def _call(self, limit_s: float, method: str, *arguments: Any, **settings: Any) -> Any:
        try:
            return getattr(self._triton, method)(*arguments, client_timeout=limit_s, **settings)
        except ValueError:  # raised by gRPC on a closed channel
            if self._closed:
                raise self._closed_error() from None
            raise

    def _error(self, failure: InferenceServerException, limit_s: float) -> ClientError:  # noqa: PLR0911  (one per status)
        status = (failure.status() or "StatusCode.UNKNOWN").removeprefix("StatusCode.")
        message = failure.message() or "no message"
        if status == "CANCELLED" and self._closed:
            return self._closed_error()
        # The client cancels nothing itself: CANCELLED comes from a server that drops its requests as it ends.
        if is_stopping(message) or status == "CANCELLED":
            return ServerFailure(f"the server is stopping ({status}): {message}", status)
        if status == "INVALID_ARGUMENT":
            return RequestRejected(message)
        if status == "DEADLINE_EXCEEDED":
            return ServerTimeout(
                f"no answer from {self.url} within {limit_s:g} s: raise the timeout, or send fewer requests at a time"
            )
        if status == "NOT_FOUND":
            return ModelNotServed(
                f"the Triton server at {self.url} does not serve a Little-Big repository: {message}", status
            )
        if status == "UNAVAILABLE" and not self._is_live():
            self._connected = False
            return self._unreachable()
        return ServerFailure(f"the server failed ({status}): {message}", status)

    def _is_live(self) -> bool:
        # UNAVAILABLE means either no connection (from gRPC) or a full queue (from Triton).
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


def _may_retry(failure: InferenceServerException) -> bool:
    """Whether the server stops or the connection was lost. A busy server is not retried."""
    if failure.status() == "StatusCode.CANCELLED":  # if the client itself was closed, the next attempt fails
        return True
    lost = failure.status() == "StatusCode.UNAVAILABLE" and not is_busy(failure.message())
    return lost or is_stopping(failure.message())


def picture_tensor(data: bytes) -> triton.InferInput:
    """`encoded_image` BYTES [1,1] of one encoded picture."""
    tensor = triton.InferInput("encoded_image", [1, 1], "BYTES")
    return tensor.set_data_from_numpy(np.array([[data]], dtype=np.object_))


def canonical_tensor(array: NDArray[np.uint8]) -> triton.InferInput:
    """`image` UINT8 [1,H,W,3] of one canonical image."""
    tensor = triton.InferInput("image", [1, *array.shape], "UINT8")
    return tensor.set_data_from_numpy(array[np.newaxis])
