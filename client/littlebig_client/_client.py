"""The client: one image per call, or many images in order with several requests in flight."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from littlebig_client._answers import Classification, read_answer
from littlebig_client._errors import ClientError, ServerFailure, ServerTimeout, ServerUnreachable
from littlebig_client._images import ImageInput, check_canonical, encoded, name_of
from littlebig_client._in_order import in_order
from littlebig_client._options import Options, check_concurrency, check_seconds, check_url
from littlebig_client._transport import Transport, canonical_tensor, picture_tensor

# Encoded pictures go to the ensemble, which decodes and resizes them; canonical images go to the gate.
_ENSEMBLE, _GATE = "classify", "little_big"

_POLL_SECONDS = 0.1


class Client:
    """A connection to a served cascade over gRPC. Safe to use from several threads.

    Example:
        >>> with Client("localhost:8001") as client:
        ...     answer = client.classify("coffee.png")
        >>> answer.name, answer.stage
        ('espresso', <Stage.LITTLE: 'little'>)
    """

    def __init__(
        self,
        url: str = "localhost:8001",
        timeout: float = 30.0,
        *,
        connect_timeout: float = 5.0,
        retry_for: float = 5.0,
    ) -> None:
        """Prepare a connection. The first request opens it; it is opened again after the server was lost.

        Args:
            url: host:port of Triton's gRPC endpoint, or any gRPC target, such as dns:///host:port or
                ipv4:host:port,host:port. Requests are spread over all servers of the target.
            timeout: seconds until a request fails with ServerTimeout, including its retries.
            connect_timeout: seconds until a server that has not responded before is ServerUnreachable;
                at most `timeout`.
            retry_for: seconds during which a request is retried when its server stops or the connection is lost;
                at most `timeout`; 0 for no retries. Classifying has no side effects, so a retry is safe.

        Raises:
            InvalidRequest: the url is not host:port, or a timeout is not a finite number above 0 (`retry_for`
                may be 0).
        """
        self._transport = Transport(
            check_url(url),
            check_seconds("timeout", timeout),
            check_seconds("connect_timeout", connect_timeout),
            check_seconds("retry_for", retry_for, allow_zero=True),
        )
        self._canonical_shape: tuple[int, ...] | None = None

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
        self._transport.close()

    def classify(
        self,
        image: ImageInput,
        *,
        top_k: int = 5,
        threshold: float | None = None,
        policy: str | None = None,
        within: float | None = None,
    ) -> Classification:
        """Classify one image.

        Args:
            image: a path (str or PathLike) or encoded bytes (JPEG, PNG, WebP, BMP, GIF), sent unchanged; a
                PIL image, turned upright by its EXIF orientation and sent as lossless PNG; or the canonical
                image, a uint8 array [H, W, 3] of the served size, sent unchanged.
            top_k: number of candidates to return, at least 1.
            threshold: escalate below this score, in [0, 1]; the served threshold by default.
            policy: "cascade", "little" (never escalate) or "big" (always); the served policy by default.
            within: seconds after which the server answers with what it has: little's answer (stage
                LITTLE_BIG_FAILED) if the server is set to fall back to it, else ServerFailure with status
                UNAVAILABLE. Use less than `timeout`, which ends the wait without an answer.

        Raises:
            InvalidRequest: an option is out of range.
            InvalidImage: the image cannot be sent.
            ServerUnreachable: no server responds.
            ServerTimeout: no answer arrives in time.
            RequestRejected: the server finds the image or an option invalid.
            ServerFailure: the server fails.
            ModelNotServed: the server does not serve a cascade.
        """
        return self._classify(image, Options(top_k, threshold, policy, within))

    def classify_many(
        self,
        images: Iterable[ImageInput],
        *,
        concurrency: int = 8,
        top_k: int = 5,
        threshold: float | None = None,
        policy: str | None = None,
        within: float | None = None,
    ) -> Iterator[Classification | ClientError]:
        """Classify many images with several requests in flight; answers come in the order of the images.

        A failed image yields its error and the other images continue. Images are read from the iterable as answers
        are consumed: at most 2 x `concurrency` are held at any time.

        Args:
            images: images of any kind that `classify` accepts, mixed as needed.
            concurrency: requests in flight, at least 1.
            top_k: as `classify`, for every image.
            threshold: as `classify`, for every image.
            policy: as `classify`, for every image.
            within: as `classify`, for every image.

        Raises:
            InvalidRequest: an option is out of range. Raised by this call, not by the first answer.
        """
        options = Options(top_k, threshold, policy, within)

        def answer(image: ImageInput) -> Classification | ClientError:
            try:
                return self._classify(image, options)
            except ClientError as failure:
                # The frames of the traceback keep the image's bytes alive.
                failure.__cause__ = failure.__context__ = None
                return failure.with_traceback(None)

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
        deadline = time.monotonic() + check_seconds("timeout", timeout)
        while True:
            try:
                if self._transport.model_ready(_ENSEMBLE, max(deadline - time.monotonic(), _POLL_SECONDS)):
                    return
                failure: ClientError = ServerTimeout(
                    f"model '{_ENSEMBLE}' at {self._transport.url} is not ready after {timeout:g} s: "
                    "the server's log says why"
                )
            except (ServerUnreachable, ServerTimeout, ServerFailure) as reason:
                failure = reason
            if time.monotonic() + _POLL_SECONDS >= deadline:
                raise failure
            time.sleep(_POLL_SECONDS)

    def _classify(self, image: ImageInput, options: Options) -> Classification:
        try:
            return read_answer(self._infer(image, options))
        except ClientError as failure:
            failure.image = name_of(image)
            raise

    def _infer(self, image: ImageInput, options: Options) -> Any:
        if isinstance(image, np.ndarray):
            self._check_canonical(image)
            return self._transport.infer(_GATE, canonical_tensor(image), options)
        return self._transport.infer(
            _ENSEMBLE, picture_tensor(encoded(image, self._transport.max_picture_bytes)), options
        )

    def _check_canonical(self, array: NDArray[Any]) -> None:
        # Query the shape once, and again before refusing: the server may serve another pair by now.
        if array.dtype != np.uint8 or array.shape != self._canonical_shape:
            self._canonical_shape = self._transport.input_shape(_GATE, "image")
            check_canonical(array, self._canonical_shape)
