"""The client: one image per call, or many images in order with several requests in flight."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from littlebig_client._answers import Classification
from littlebig_client._errors import ClientError
from littlebig_client._failures import closed
from littlebig_client._images import ImageInput
from littlebig_client._in_order import in_order
from littlebig_client._options import Options, check_concurrency, check_seconds
from littlebig_client._settings import ConfiguredClient
from littlebig_client._steps import Call, Pause, Step, Steps

T = TypeVar("T")


class Client(ConfiguredClient):
    """A connection to a served cascade over gRPC. Safe to use from several threads; can be pickled.

    Example:
        >>> with Client("localhost:8001") as client:
        ...     answer = client.classify("coffee.png")
        >>> answer.name, answer.stage
        ('espresso', <Stage.LITTLE: 'little'>)
    """

    def _prepare(self) -> None:
        self._triton: Any = None
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def __enter__(self) -> Client:
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection. Requests in flight and later ones raise InvalidRequest."""
        if self._triton is not None and not self._session.calls.is_closed:
            self._run(self._session.release())
        with self._lock:
            self._session.calls.is_closed = True
            self._closing.set()
            if self._triton is not None:
                self._triton.close()

    def classify(
        self,
        image: ImageInput,
        *,
        top_k: int = 5,
        threshold: float | None = None,
        policy: str | None = None,
        within: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Classification:
        """Classify one image.

        Args:
            image: a path (str or PathLike) or encoded bytes (JPEG, PNG, WebP, BMP, GIF), sent unchanged; a
                PIL image, turned upright by its EXIF orientation and sent as lossless PNG; or the canonical
                image, a uint8 array [H, W, 3] of the served size, sent unchanged.
            top_k: number of candidates to return, at least 1.
            threshold: escalate below this score, in [0, 1]; the served threshold by default. `score` says what
                the server compares with it.
            policy: "cascade", "little" (never escalate) or "big" (always); the served policy by default.
            within: seconds after which the server answers with what it has: little's answer (stage
                LITTLE_BIG_FAILED) if the server is set to fall back to it, else ServerFailure with status
                UNAVAILABLE. Use less than `timeout`, which ends the wait without an answer.
            metadata: gRPC metadata of this request, beside the client's own.

        Raises:
            InvalidRequest: an option is out of range.
            InvalidImage: the image cannot be sent.
            ServerUnreachable: no server responds.
            ServerTimeout: no answer arrives in time.
            RequestRejected: the server finds the image or an option invalid.
            ServerFailure: the server fails.
            ModelNotServed: the server does not serve a cascade.
        """
        options = Options(top_k, threshold, policy, within, metadata)
        return self._run(self._session.classify(image, options))

    def classify_batch(
        self,
        images: NDArray[np.uint8],
        *,
        top_k: int = 5,
        threshold: float | None = None,
        policy: str | None = None,
        within: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> list[Classification]:
        """Classify many canonical images in one request, or in as few as the served batch size allows.

        Args:
            images: uint8 [N, H, W, 3] in RGB, of the served size.
            top_k: as `classify`, for every image.
            threshold: as `classify`, for every image.
            policy: as `classify`, for every image.
            within: as `classify`, for each request.
            metadata: as `classify`, for each request.

        Returns:
            N answers in the order of the images.

        Raises:
            ClientError: as `classify`; a request fails or succeeds as a whole.
        """
        options = Options(top_k, threshold, policy, within, metadata)
        return self._run(self._session.classify_batch(images, options))

    def classify_many(
        self,
        images: Iterable[ImageInput],
        *,
        concurrency: int = 8,
        top_k: int = 5,
        threshold: float | None = None,
        policy: str | None = None,
        within: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Iterator[Classification | ClientError]:
        """Classify many images with several requests in flight; answers come in the order of the images.

        A failed image yields its error and the other images continue. While the server restarts, images wait for it.
        Images are read from the iterable as answers are consumed: at most 2 x `concurrency` are held at any time.

        Args:
            images: images of any kind that `classify` accepts, mixed as needed.
            concurrency: requests in flight, at least 1.
            top_k: as `classify`, for every image.
            threshold: as `classify`, for every image.
            policy: as `classify`, for every image.
            within: as `classify`, for every image.
            metadata: as `classify`, for every image.

        Raises:
            InvalidRequest: an option is out of range. Raised by this call, not by the first answer.
        """
        options = Options(top_k, threshold, policy, within, metadata)

        def answer(image: ImageInput) -> Classification | ClientError:
            return self._run(self._session.classify_or_error(image, options))

        return in_order(answer, images, check_concurrency(concurrency))

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Wait until the cascade accepts requests.

        Args:
            timeout: longest wait, in seconds.

        Raises:
            ServerUnreachable: no server has responded by then.
            ServerTimeout: a server responds, but its model `classify` is not ready by then.
            ServerFailure: the server fails.
        """
        self._run(self._session.wait_until_ready(check_seconds("timeout", timeout)))

    def gate_config(self) -> Any:
        """The served gate's configuration as Triton's `ModelConfig` message: sizes, classes and `parameters`.

        Raises:
            ClientError: as `classify`.
        """
        return self._run(self._session.gate_config())

    def score(self) -> str:
        """What the server compares with the threshold: "confidence" or "margin", as its repository says.

        Raises:
            ClientError: as `classify`.
        """
        return self._run(self._session.score())

    def _run(self, steps: Steps[T]) -> T:
        """Perform steps in this thread."""
        try:
            step = next(steps)
            while True:
                try:
                    outcome = self._perform(step)
                except Exception as failure:  # the steps decide
                    step = steps.throw(failure)
                else:
                    step = steps.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result

    def _perform(self, step: Step) -> Any:
        if isinstance(step, Call):
            return self._call(step)
        if isinstance(step, Pause):
            return self._closing.wait(step.seconds)
        return step.work()

    def _call(self, call: Call) -> Any:
        if self._triton is None:
            self._open()
        try:
            return getattr(self._triton, call.method)(*call.arguments, client_timeout=call.limit_s, **call.settings)
        except ValueError:  # raised by gRPC on a closed channel
            if self._session.calls.is_closed:
                raise closed() from None
            raise

    def _open(self) -> None:
        with self._lock:
            if self._session.calls.is_closed:
                raise closed()
            if self._triton is None:
                self._triton = self._session.calls.connection.open()
