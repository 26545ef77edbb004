"""Work done by several threads at once, answered in the order it came in, with bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(work: Callable[[T], R], items: Iterable[T], concurrency: int) -> Iterator[R]:
    """Apply `work` to every item.

    Items are taken only as results are: at most twice `concurrency` of them are held, worked on or waiting
    to be yielded. Abandoning the iterator drops what has not begun.

    Args:
        work: called in worker threads; what it raises is raised here, at its item's turn.
        items: taken one after another, in the caller's thread.
        concurrency: how many calls run at a time.
    """
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="littlebig-client")
    held: deque[Future[R]] = deque()
    try:
        for item in items:
            held.append(pool.submit(work, item))
            # What is ready leaves at once: a slow source of images must not hold back its first answers.
            while held and (held[0].done() or len(held) >= 2 * concurrency):
                yield held.popleft().result()
        while held:
            yield held.popleft().result()
    finally:
        # Not waiting: whoever gives up (Ctrl-C) closes the client next, which ends the calls in flight.
        pool.shutdown(wait=False, cancel_futures=True)
