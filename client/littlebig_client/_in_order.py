"""Runs work in several threads and yields results in the order of the input, with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

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
