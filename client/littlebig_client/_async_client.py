"""The client for asyncio: the verbs of `Client`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from littlebig_client._answers import Classification
from littlebig_client._errors import ClientError, InvalidRequest
from littlebig_client._failures import closed
from littlebig_client._images import ImageInput
from littlebig_client._in_order import in_order_async
from littlebig_client._options import Options, check_concurrency, check_seconds
from littlebig_client._settings import ConfiguredClient
from littlebig_client._steps import Call, Pause, Step, Steps

T = TypeVar("T")


class AsyncClient(ConfiguredClient):
    """A connection to a served cascade over gRPC, for the event loop of its first request. Can be pickled.

    Options, answers and errors are those of `Client`. Files are read and pictures encoded in worker threads.

    Example:
        >>> async with AsyncClient("localhost:8001") as client:
        ...     answer = await client.classify("coffee.png")
    """

    def _prepare(self) -> None:
        self._triton: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> AsyncClient:
        """Return the client."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self.close()

    async def close(self) -> None:
        """Close the connection. Requests in flight and later ones raise InvalidRequest."""
        if self._triton is not None and not self._session.calls.is_closed:
            await self._run(self._session.release())
        self._session.calls.is_closed = True
        if self._triton is not None:
            await self._triton.close()

    async def classify(
        self,
        image: ImageInput,
        *,
        top_k: int = 5,
        threshold: float | None = None,
        policy: str | None = None,
        within: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Classification:
        """Classify one image; see `Client.classify`."""
        options = Options(top_k, threshold, policy, within, metadata)
        return await self._run(self._session.classify(image, options))

    async def classify_batch(
        self,
        images: NDArray[np.uint8],
        *,
        top_k: int = 5,
        threshold: float | None = None,
        policy: str | None = None,
        within: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> list[Classification]:
        """Classify canonical images [N, H, W, 3] in one request; see `Client.classify_batch`."""
        options = Options(top_k, threshold, policy, within, metadata)
        return await self._run(self._session.classify_batch(images, options))

    def classify_many(
        self,
        images: Iterable[ImageInput] | AsyncIterable[ImageInput],
        *,
        concurrency: int = 8,
        top_k: int = 5,
        threshold: float | None = None,
        policy: str | None = None,
        within: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Classification | ClientError]:
        """Classify many images with several requests in flight, in order; see `Client.classify_many`.

        Args:
            images: as `Client.classify_many`, or an asynchronous iterable, such as a queue's images.
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

        async def answer(image: ImageInput) -> Classification | ClientError:
            return await self._run(self._session.classify_or_error(image, options))

        return in_order_async(answer, images, check_concurrency(concurrency))

    async def wait_until_ready(self, timeout: float = 60.0) -> None:
        """Wait until the cascade accepts requests; see `Client.wait_until_ready`."""
        await self._run(self._session.wait_until_ready(check_seconds("timeout", timeout)))

    async def gate_config(self) -> Any:
        """The served gate's configuration; see `Client.gate_config`."""
        return await self._run(self._session.gate_config())

    async def score(self) -> str:
        """What the server compares with the threshold; see `Client.score`."""
        return await self._run(self._session.score())

    async def _run(self, steps: Steps[T]) -> T:
        """Perform steps in the running event loop."""
        try:
            step = next(steps)
            while True:
                try:
                    outcome = await self._perform(step)
                except Exception as failure:  # the steps decide
                    step = steps.throw(failure)
                else:
                    step = steps.send(outcome)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            steps.close()

    async def _perform(self, step: Step) -> Any:
        if isinstance(step, Call):
            return await self._call(step)
        if isinstance(step, Pause):
            return await asyncio.sleep(step.seconds)
        return await asyncio.to_thread(step.work)

    async def _call(self, call: Call) -> Any:
        triton = self._opened()
        try:
            return await getattr(triton, call.method)(*call.arguments, client_timeout=call.limit_s, **call.settings)
        except asyncio.CancelledError:
            # gRPC cancels the calls in flight of a channel that is closed. The caller did not cancel its task.
            if self._session.calls.is_closed and not _is_cancelled(asyncio.current_task()):
                raise closed() from None
            raise

    def _opened(self) -> Any:
        if self._session.calls.is_closed:
            raise closed()
        loop = asyncio.get_running_loop()
        if self._triton is None:
            self._triton, self._loop = self._session.calls.connection.open_async(), loop
        if self._loop is not loop:
            raise InvalidRequest("this client belongs to another event loop: make one for each loop")
        return self._triton


def _is_cancelled(task: asyncio.Task[Any] | None) -> bool:
    # Python 3.10 cannot tell.
    cancelling = getattr(task, "cancelling", None)
    return cancelling is not None and cancelling() > 0
