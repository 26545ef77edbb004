"""Threads for calls of big: how many there are, and that no two share a buffer."""

import queue
import threading

import pytest
from littlebig_workers import Workers

LATE = 10


@pytest.fixture
def release():
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def busy():
    return queue.SimpleQueue()


def test_ready_threads_have_their_buffers_before_any_work_comes(release, busy):
    made = []
    workers = Workers(3, lambda: made.append(object()) or made[-1])
    assert len(made) == 3
    for _ in range(3):
        workers.run(lambda buffer: (busy.put(buffer), release.wait(LATE)))
    assert {busy.get(timeout=LATE) for _ in range(3)} == set(made)


def test_another_thread_starts_when_all_are_busy(release, busy):
    workers = Workers(1, object)
    for _ in range(3):
        workers.run(lambda buffer: (busy.put((threading.get_ident(), buffer)), release.wait(LATE)))
    threads, buffers = zip(*(busy.get(timeout=LATE) for _ in range(3)), strict=True)
    assert len(set(threads)) == len(set(buffers)) == 3


def test_threads_are_used_again(release, busy):
    workers = Workers(2, object)
    used = set()
    for _ in range(100):
        workers.run(lambda buffer: busy.put(threading.get_ident()))
        used.add(busy.get(timeout=LATE))
    assert len(used) <= 4  # work may come before the last thread is idle again
