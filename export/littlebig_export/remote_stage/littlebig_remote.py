"""The connection to the server that computes a stage.

Requests name the weights (`stage_alias`), so each of them is answered by these weights or not at all.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tritonclient.grpc as triton
from littlebig_quoting import quoted
from littlebig_remote_credentials import read_credentials, read_headers
from littlebig_remote_settings import RemoteSettings, stage_alias
from tritonclient.utils import InferenceServerException

# Another address may answer where one refuses: a killed server resets its connections, one that stops has unloaded its
# models (NOT_FOUND), and so may have other weights while both pools are replaced. Inference may be repeated safely.
_RETRIES = {
    "maxAttempts": 5,  # gRPC's own limit
    "initialBackoff": "0.02s",
    "maxBackoff": "0.1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE", "NOT_FOUND"],
}
_CHANNEL: tuple[tuple[str, Any], ...] = (
    ("grpc.max_send_message_length", triton.MAX_GRPC_MESSAGE_SIZE),
    ("grpc.max_receive_message_length", triton.MAX_GRPC_MESSAGE_SIZE),
    # A name may stand for several servers. gRPC asks for its addresses again when a connection ends.
    (
        "grpc.service_config",
        json.dumps(
            {
                "loadBalancingConfig": [{"round_robin": {}}],
                "methodConfig": [{"name": [{"service": "inference.GRPCInferenceService"}], "retryPolicy": _RETRIES}],
            }
        ),
    ),
    ("grpc.dns_min_time_between_resolutions_ms", 1000),
    # gRPC repeats a call only if its message fits here; a batch of images does not fit the default of 256 KiB.
    ("grpc.per_rpc_retry_buffer_size", 64 << 20),
    # Back within a second after the server is: by default gRPC waits up to two minutes, and 20 s for each attempt.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A connection whose other end is silently gone is noticed after 3 s. `littlebig serve` permits such pings.
    ("grpc.keepalive_time_ms", 2000),
    ("grpc.keepalive_timeout_ms", 1000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
_LONGEST_ERROR = 300
# gRPC's words for a name without an address, which say the name three times.
_LOOKUP = re.compile(r"errors resolving .*: ([^:\]]+)\]?$")
# Each of gRPC's attempts may meet the one of two servers that stops, which takes it seconds: so many rounds of them, in
# at most so many seconds. It refuses by its models' absence (NOT_FOUND) or in one of these words, whatever the status,
# and cancels the calls that it has at its end. The words are those of the client's `_triton_messages`; a test compares.
_ROUNDS, _ROUNDS_S = 20, 1.0
_STOPPING = ("Server exiting", "Server is stopping", "Server not ready", "has no available versions")
# What the stage's server says of itself, or is busy: all else are the stage's own errors.
_UNREACHABLE = ("UNAVAILABLE", "UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "CANCELLED")
Answer = Callable[[Mapping[str, Any], str], None]


class WrongModel(Exception):
    """The server has another model than this repository was exported for."""


class Unreachable(Exception):
    """The server does not answer."""


class RemoteStage:
    """One stage of another server."""

    def __init__(self, stage: str, settings: RemoteSettings, config: Mapping[str, Any]) -> None:
        """Prepare the connection; it is made with the first call.

        Args:
            stage: `little` or `big`.
            settings: how the server is reached.
            config: Triton's configuration of this model.

        Raises:
            BadSetting: a file cannot be read, or is not what it should be.
        """
        parameters = config["parameters"]
        self.stage, self.settings = stage, settings
        self._model = parameters["model"]["string_value"]
        self._weights = parameters["weights_sha256"]["string_value"]
        self.alias = stage_alias(stage, self._weights)
        self._size = [int(size) for size in config["input"][0]["dims"][:2]]
        self._classes = next(int(out["dims"][0]) for out in config["output"] if out["name"] == "probabilities")
        options = list(_CHANNEL)
        if settings.is_loopback:
            options.append(("grpc.enable_http_proxy", 0))
        if settings.compression:
            options.append(("grpc.default_compression_algorithm", settings.compression))
        if settings.tls_name:
            options.append(("grpc.ssl_target_name_override", settings.tls_name))
        read_headers(settings)  # a wrong file is reported now
        credentials = read_credentials(settings) if settings.tls else None
        self._client = triton.InferenceServerClient(settings.url, channel_args=options, creds=credentials)

    def check(self, timeout_s: float) -> None:
        """Compare the served stage's weights, image size and classes with those of this repository.

        Args:
            timeout_s: seconds.

        Raises:
            WrongModel: if they differ.
            Unreachable: if the server does not answer.
        """
        try:
            config = self._config(self.alias, timeout_s)
        except InferenceServerException as failure:
            if not _is_unknown_model(failure):
                raise Unreachable(self.describe(failure, timeout_s)) from None
            raise WrongModel(self._other_weights(timeout_s)) from None
        size = [int(number) for number in config.input[0].dims[:2]]
        classes = next((int(out.dims[0]) for out in config.output if out.name == "probabilities"), 0)
        if size != self._size:
            raise WrongModel(
                f"'{self.settings.url}' takes images of {size[0]} x {size[1]}, this repository's are "
                f"{self._size[0]} x {self._size[1]}: export both for the same pair"
            )
        if classes != self._classes:
            raise WrongModel(
                f"'{self.settings.url}' knows {classes} classes, this repository {self._classes}: "
                "export both for the same pair"
            )

    def ask(self, images: Any, outputs: Sequence[str], timeout_s: float, on_answer: Answer) -> None:
        """Ask for a batch, without waiting.

        Args:
            images: uint8 [images, H, W, 3]; copied before this returns.
            outputs: names.
            timeout_s: seconds for the answer, repeated calls included.
            on_answer: called once, on another thread, with the outputs by name, or none of them and the reason in one
                line.
        """
        tensor = triton.InferInput("image", list(images.shape), "UINT8").set_data_from_numpy(images)
        wanted = [triton.InferRequestedOutput(name) for name in outputs]
        started = time.monotonic()
        rows_asked, rounds, deadline = len(images), iter(range(1, _ROUNDS)), started + timeout_s

        def send() -> None:
            left = max(deadline - time.monotonic(), 0.001)
            self._client.async_infer(
                self.alias, [tensor], arrived, outputs=wanted, client_timeout=left, headers=read_headers(self.settings)
            )

        def arrived(result: Any, error: InferenceServerException | None) -> None:
            try:
                again = error is not None and _is_leaving(error) and time.monotonic() - started < _ROUNDS_S
                if again and next(rounds, None):
                    send()
                    return
                answer = ({}, self.describe(error, timeout_s)) if error else _rows(result, outputs, rows_asked)
            except Exception as problem:  # whatever it is, the callers must get a response
                answer = {}, quoted(problem, _LONGEST_ERROR)
            on_answer(*answer)

        send()

    def describe(self, failure: InferenceServerException, timeout_s: float) -> str:
        """A failed call in one line; the stage's own errors as they are."""
        url, status = self.settings.url, str(failure.status()).removeprefix("StatusCode.")
        message = quoted((failure.message() or "").removeprefix(f"in ensemble '{self.alias}', "), _LONGEST_ERROR)
        message = _LOOKUP.sub(r"its name cannot be looked up: \1", message)
        if _is_unknown_model(failure):
            return f"'{url}' has no '{self.alias}', the weights that this repository was exported for"
        if status == "DEADLINE_EXCEEDED":
            return f"'{url}' does not answer within {timeout_s * 1e3:g} ms"
        return f"'{url}' does not answer: {message}" if status in _UNREACHABLE else message

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _config(self, model: str, timeout_s: float) -> Any:
        return self._client.get_model_config(
            model, client_timeout=timeout_s, headers=read_headers(self.settings)
        ).config

    def _other_weights(self, timeout_s: float) -> str:
        """What the server has in place of the wanted weights."""
        url, ours = self.settings.url, f"{self._model} {self._weights[:12]}"
        try:
            parameters = self._config(self.stage, timeout_s).parameters
        except InferenceServerException:
            return f"'{url}' serves no stage '{self.stage}': serve it with 'littlebig export --only {self.stage}'"
        theirs = f"{parameters['model'].string_value} {parameters['weights_sha256'].string_value[:12]}"
        if theirs == ours:
            return f"'{url}' serves '{self.stage}' in a cascade: serve it with 'littlebig export --only {self.stage}'"
        return (
            f"'{url}' serves other weights of {self.stage} ({theirs}) than this repository was exported and calibrated "
            f"for ({ours}): export both for the same pair"
        )


def _rows(result: Any, outputs: Sequence[str], rows: int) -> tuple[dict[str, Any], str]:
    """The outputs by name, or none of them and what is wrong."""
    arrays = {name: result.as_numpy(name) for name in outputs}
    for name, array in arrays.items():
        found = 0 if array is None else len(array)
        if found != rows:
            return {}, f"output '{name}' has {found} rows for {rows} images"
    return arrays, ""


def _is_unknown_model(failure: InferenceServerException) -> bool:
    return str(failure.status()).endswith("NOT_FOUND")


def _is_leaving(failure: InferenceServerException) -> bool:
    if str(failure.status()).endswith("CANCELLED"):
        return True
    return _is_unknown_model(failure) or any(words in (failure.message() or "") for words in _STOPPING)
