"""What a client does for each verb, as steps that threads and event loops perform alike."""

import time
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from littlebig_client._answers import Classification, read_answers
from littlebig_client._calls import Calls
from littlebig_client._errors import (
    ClientError,
    InvalidRequest,
    RequestRejected,
    ServerFailure,
    ServerTimeout,
    ServerUnreachable,
)
from littlebig_client._images import (
    DEFAULT_MAX_BYTES,
    ImageInput,
    TooLarge,
    check_canonical,
    check_canonical_batch,
    encoded,
    is_encoded,
    name_of,
)
from littlebig_client._options import Options
from littlebig_client._shared_memory import Region, Regions
from littlebig_client._steps import Blocking, Call, Pause, Steps
from littlebig_client._tensors import Tensor, images_tensor, picture_tensor
from littlebig_client._triton_messages import has_no_region, is_closed_to_clients

# Encoded pictures go to the ensemble, which decodes and resizes them; canonical images go to the gate.
_ENSEMBLE, _GATE, _PREPROCESS = "classify", "little_big", "preprocess"
_OUTPUTS = ("label", "confidence", "stage")
_POLL_SECONDS = 0.1
# Registrations of shared memory for one image, whose server may restart in between.
_REGISTRATIONS = 3


class Session:
    """The verbs of a client of one server. Safe to use from several threads."""

    def __init__(self, calls: Calls, *, shared_memory: bool = False) -> None:
        """Prepare; nothing is sent yet."""
        self.calls = calls
        self._regions = Regions() if shared_memory else None
        self._canonical_shape: tuple[int, ...] | None = None
        self._max_bytes: int | None = None
        self._max_batch: int | None = None

    def classify(self, image: ImageInput, options: Options) -> Steps[Classification]:
        """The answer to one image."""
        try:
            if isinstance(image, np.ndarray):
                yield from self._check_canonical(image)
                result = yield from self._infer(_GATE, images_tensor(image[np.newaxis]), options)
            else:
                picture = yield from self._encoded(image)
                result = yield from self._infer(_ENSEMBLE, picture_tensor(picture), options)
            return read_answers(result, 1)[0]
        except ClientError as failure:
            failure.image = name_of(image)
            raise

    def classify_or_error(self, image: ImageInput, options: Options) -> Steps[Classification | ClientError]:
        """The answer to one image, or its error without a traceback, whose frames would keep the image alive."""
        try:
            return (yield from self.classify(image, options))
        except ClientError as failure:
            failure.__cause__ = failure.__context__ = None
            return failure.with_traceback(None)

    def classify_batch(self, images: NDArray[np.uint8], options: Options) -> Steps[list[Classification]]:
        """The answers to canonical images [N, H, W, 3], in requests of the served batch size."""
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.shape[1:] != self._canonical_shape:
            yield from self._read_canonical_shape()
        check_canonical_batch(images, self._canonical_shape or ())
        size = yield from self._max_batch_size()
        answers: list[Classification] = []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            result = yield from self._infer(_GATE, images_tensor(part), options)
            answers += read_answers(result, len(part))
        return answers

    def wait_until_ready(self, timeout: float) -> Steps[None]:
        """Return when the ensemble accepts requests."""
        deadline = time.monotonic() + timeout
        while True:
            remaining = max(deadline - time.monotonic(), _POLL_SECONDS)
            try:
                if (yield from self.calls.call("is_model_ready", _ENSEMBLE, limit_s=remaining, repeat=False)):
                    return
                failure: ClientError = ServerTimeout(
                    f"model '{_ENSEMBLE}' at {self.calls.connection.url} is not ready after {timeout:g} s: "
                    "the server's log says why"
                )
            except (ServerUnreachable, ServerTimeout, ServerFailure) as reason:
                failure = reason
            if time.monotonic() + _POLL_SECONDS >= deadline:
                raise failure
            yield Pause(_POLL_SECONDS)

    def gate_config(self) -> Steps[Any]:
        """The served gate's configuration, Triton's `ModelConfig`."""
        return (yield from self._config(_GATE))

    def score(self) -> Steps[str]:
        """What the served gate compares with the threshold: "confidence" or "margin"."""
        config = yield from self._config(_GATE)
        return str(config.parameters["score"].string_value) or "confidence"

    def release(self) -> Steps[None]:
        """Let the server forget the shared memory; a server that is gone has."""
        for region in self._regions.take_all() if self._regions is not None else ():
            try:
                yield Call("unregister_system_shared_memory", _POLL_SECONDS, (region.name,))
            except InferenceServerException:
                return

    def _infer(self, model: str, tensor: Tensor, options: Options) -> Steps[Any]:
        outputs = [triton.InferRequestedOutput(name) for name in _OUTPUTS]
        # Triton's classification extension returns k texts with names instead of all probabilities.
        outputs.append(triton.InferRequestedOutput("probabilities", class_count=int(options.top_k)))
        settings = {"outputs": outputs, **options.settings()}
        if self._regions is None:
            return (yield from self.calls.call("infer", model, settings={"inputs": [tensor.with_data()], **settings}))
        for attempt in range(_REGISTRATIONS):
            region, is_read = self._regions.take(tensor.size), False
            try:
                inputs = [tensor.in_region(region)]
                if not region.is_registered:
                    yield from self._register(region)
                result = yield from self.calls.call("infer", model, settings={"inputs": inputs, **settings})
                is_read = True
                return result
            except (RequestRejected, ServerFailure) as failure:
                is_read = isinstance(failure, RequestRejected)
                if attempt + 1 == _REGISTRATIONS or not has_no_region(failure.message):
                    raise
                self._regions.take_all()  # the server restarted: it has none of them
            finally:
                self._regions.put(region, is_read=is_read)
        raise AssertionError  # the last attempt returned or raised

    def _register(self, region: Region) -> Steps[None]:
        try:
            yield from self.calls.call("register_system_shared_memory", region.name, region.name, region.size)
        except ServerFailure as failure:
            if is_closed_to_clients(failure.message):
                raise InvalidRequest(
                    f"the server at {self.calls.connection.url} does not let clients register shared memory: start it "
                    "with 'littlebig serve --client-shared-memory', or leave shared_memory out"
                ) from failure
            raise
        finally:
            region.remove_name()
        region.is_registered = True

    def _encoded(self, image: ImageInput) -> Steps[bytes]:
        if is_encoded(image) and len(image) <= DEFAULT_MAX_BYTES:  # type: ignore[arg-type]
            return encoded(image)
        try:
            return bytes((yield Blocking(lambda: encoded(image))))
        except TooLarge:
            # Only now ask: the server may allow more than the reference repository.
            limit = yield from self._max_picture_bytes()
            return bytes((yield Blocking(lambda: encoded(image, limit))))

    def _check_canonical(self, array: NDArray[Any]) -> Steps[None]:
        # Query the shape once, and again before refusing: the server may serve another pair by now.
        if array.dtype != np.uint8 or array.shape != self._canonical_shape:
            check_canonical(array, (yield from self._read_canonical_shape()))

    def _read_canonical_shape(self) -> Steps[tuple[int, ...]]:
        metadata = yield from self.calls.call("get_model_metadata", _GATE)
        for tensor in metadata.inputs:
            if tensor.name == "image":
                self._canonical_shape = tuple(int(size) for size in tensor.shape[1:])
                return self._canonical_shape
        raise ServerFailure(f"model '{_GATE}' at {self.calls.connection.url} has no input 'image'", status="OK")

    def _max_picture_bytes(self) -> Steps[int]:
        """The longest encoded picture that the server accepts; the reference's if the server does not say."""
        if self._max_bytes is None:
            try:
                config = yield from self._config(_PREPROCESS)
                self._max_bytes = int(config.parameters["max_bytes"].string_value)
            except (ClientError, ValueError):
                return DEFAULT_MAX_BYTES
        return self._max_bytes

    def _max_batch_size(self) -> Steps[int]:
        if self._max_batch is None:
            config = yield from self._config(_GATE)
            self._max_batch = max(int(config.max_batch_size), 1)
        return self._max_batch

    def _config(self, model: str) -> Steps[Any]:
        return (yield from self.calls.call("get_model_config", model)).config
