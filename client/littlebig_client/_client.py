"""The client: one call per image, or many images in order with several requests in flight."""

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

# An encoded picture goes to the ensemble, which resizes it; a canonical image goes to the gate itself.
_FOR_PICTURES = "classify"
_FOR_CANONICAL = "little_big"

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
        """Prepare a connection; it is made with the first request, and made again after the server was away.

        Args:
            url: host:port of Triton's gRPC endpoint, or any gRPC target, such as dns:///host:port or
                ipv4:host:port,host:port. Requests are spread over all servers that it stands for.
            timeout: seconds until a request fails with ServerTimeout.
            connect_timeout: seconds until a server that was never heard from counts as ServerUnreachable;
                never more than `timeout`.
            retry_for: seconds for which a request is sent again when its server stops or is lost, never more than
                `timeout`; 0 for never. A classification changes nothing, so that asking twice is safe.

        Raises:
            InvalidRequest: if the url is not host:port, or a timeout is not a finite number above 0.
        """
        self._transport = Transport(
            check_url(url),
            check_seconds("timeout", timeout),
            check_seconds("connect_timeout", connect_timeout),
            check_seconds("retry_for", retry_for, or_none_at_all=True),
        )
        self._canonical_shape: tuple[int, ...] | None = None

    def __enter__(self) -> Client:
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; requests in flight and later ones raise InvalidRequest."""
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
            image: a path (str or PathLike) or encoded bytes (JPEG, PNG, WebP, BMP, GIF), sent as they are; a
                PIL image, turned upright by its EXIF orientation and sent as PNG without loss; or the
                canonical image, a uint8 array [H, W, 3] of the served size, sent as it is.
            top_k: how many candidates to answer with, at least 1.
            threshold: escalate below this score, in [0, 1]; by default the one served.
            policy: "cascade", "little" (never escalate) or "big" (always); by default the one served.
            within: seconds after which the server is to answer with what it has: little's answer (stage
                LITTLE_BIG_FAILED) where it may stand in for big's, else a ServerFailure with status UNAVAILABLE.
                Give less than `timeout`, which ends the wait without any answer.

        Raises:
            InvalidRequest: an option is out of range; InvalidImage: the image cannot be sent.
            ServerUnreachable, ServerTimeout: no server, or no answer in time.
            RequestRejected: the server found the image or an option invalid.
            ServerFailure: the server failed; ModelNotServed: it serves something else.
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

        A failed image yields its error, and the rest go on. Images are taken from the iterable as answers are
        taken from the result: at most 2 x `concurrency` are held at any time.

        Args:
            images: what `classify` takes, in any mixture.
            concurrency: requests in flight, at least 1.
            top_k: as `classify`, for every image.
            threshold: as `classify`, for every image.
            policy: as `classify`, for every image.
            within: as `classify`, for every image.

        Raises:
            InvalidRequest: an option is out of range; at once, not with the first answer.
        """
        options = Options(top_k, threshold, policy, within)

        def answer(image: ImageInput) -> Classification | ClientError:
            try:
                return self._classify(image, options)
            except ClientError as failure:
                # The frames of the traceback hold the image's bytes; a list of errors must not.
                failure.__cause__ = failure.__context__ = None
                return failure.with_traceback(None)

        return in_order(answer, images, check_concurrency(concurrency))

    def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Wait until the cascade takes requests.

        Args:
            timeout: seconds to wait at most.

        Raises:
            ServerUnreachable: if no server has answered by then.
            ServerTimeout, ServerFailure: if a server answers but its model `classify` is not ready by then.
        """
        deadline = time.monotonic() + check_seconds("timeout", timeout)
        while True:
            try:
                if self._transport.model_ready(_FOR_PICTURES, max(deadline - time.monotonic(), _POLL_SECONDS)):
                    return
                failure: ClientError = ServerTimeout(
                    f"model '{_FOR_PICTURES}' at {self._transport.url} is not ready after {timeout:g} s: "
                    "the server's log says why"
                )
            except (ServerUnreachable, ServerTimeout, ServerFailure) as not_yet:
                failure = not_yet
            if time.monotonic() + _POLL_SECONDS >= deadline:
                raise failure
            time.sleep(_POLL_SECONDS)

    def _classify(self, image: ImageInput, options: Options) -> Classification:
        try:
            return read_answer(self._ask(image, options))
        except ClientError as failure:
            failure.image = name_of(image)
            raise

    def _ask(self, image: ImageInput, options: Options) -> Any:
        if isinstance(image, np.ndarray):
            self._check_canonical(image)
            return self._transport.infer(_FOR_CANONICAL, canonical_tensor(image), options)
        return self._transport.infer(_FOR_PICTURES, picture_tensor(encoded(image)), options)

    def _check_canonical(self, array: NDArray[Any]) -> None:
        # Asked once. Asked again before a refusal, because the server may by now serve another pair.
        if array.dtype != np.uint8 or array.shape != self._canonical_shape:
            self._canonical_shape = self._transport.input_shape(_FOR_CANONICAL, "image")
            check_canonical(array, self._canonical_shape)
