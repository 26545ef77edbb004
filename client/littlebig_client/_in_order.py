"""Runs work in several threads or tasks and yields results in the order of the input, with bounded memory."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(work: Callable[[T], R], items: Iterable[T], concurrency: int) -> Iterator[R]:
    """Apply `work` to every item.

    At most 2 x `concurrency` items are held, in work or finished. Closing the iterator drops items that have not
    started.

    Args:
        work: called in worker threads; its exception is raised at the turn of its item.
        items: read in the caller's thread, only as results are consumed.
        concurrency: calls that run at the same time.
    """
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="littlebig-client")
    pending: deque[Future[R]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            # Yield finished results first, so that a slow source does not delay them.
            while pending and (pending[0].done() or len(pending) >= 2 * concurrency):
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        # Do not wait: after Ctrl-C the caller closes the client, which ends the calls in flight.
        pool.shutdown(wait=False, cancel_futures=True)


async def in_order_async(
    work: Callable[[T], Awaitable[R]], items: Iterable[T] | AsyncIterable[T], concurrency: int
) -> AsyncIterator[R]:
    """Apply `work` to every item in the running event loop; see `in_order`.

    Finished results are yielded also while an asynchronous source has no next item.

    Args:
        work: started in the order of the items; its exception is raised at the turn of its item.
        items: read only as results are consumed.
        concurrency: calls that run at the same time.
    """
    slots = asyncio.Semaphore(concurrency)

    async def limited(item: T) -> R:
        async with slots:
            return await work(item)

    source = _asynchronous(items)
    pending: deque[asyncio.Task[R]] = deque()
    following: asyncio.Future[T] | None = None
    is_exhausted = False
    try:
        while True:
            if following is None and not is_exhausted and len(pending) < 2 * concurrency:
                following = asyncio.ensure_future(anext(source))
            waits: list[asyncio.Future[Any]] = [*([pending[0]] if pending else []), *([following] if following else [])]
            if not waits:
                return
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if pending and pending[0].done():
                yield pending.popleft().result()
            elif following is not None and following.done():
                try:
                    pending.append(asyncio.ensure_future(limited(following.result())))
                except StopAsyncIteration:
                    is_exhausted = True
                following = None
    finally:
        if following is not None:
            following.cancel()
        for task in pending:
            task.cancel()


async def _asynchronous(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
