"""Threads for the gate's calls: how many there are, and what they do first."""

import queue
import threading

import pytest
from littlebig_workers import Workers


@pytest.fixture
def let_go():
    event = threading.Event()
    yield event
    event.set()


def test_those_that_are_ready_have_prepared_before_any_work_comes(let_go):
    prepared = queue.SimpleQueue()
    workers = Workers(3, lambda: prepared.put(threading.get_ident()))
    ready = {prepared.get(timeout=10) for _ in range(3)}
    assert len(ready) == 3
    at_work = queue.SimpleQueue()
    for _ in range(3):
        workers.run(lambda: (at_work.put(threading.get_ident()), let_go.wait(10)))
    assert {at_work.get(timeout=10) for _ in range(3)} == ready


def test_one_more_is_started_when_all_are_busy(let_go):
    workers = Workers(1, lambda: None)
    at_work = queue.SimpleQueue()
    for _ in range(2):
        workers.run(lambda: (at_work.put(threading.get_ident()), let_go.wait(10)))
    assert len({at_work.get(timeout=10) for _ in range(2)}) == 2


def test_few_threads_do_what_comes_one_after_another():
    workers = Workers(8, lambda: None)
    at_work = queue.SimpleQueue()
    used = set()
    for _ in range(100):
        workers.run(lambda: at_work.put(threading.get_ident()))
        used.add(at_work.get(timeout=10))
    # One, but for work that comes before the thread of the last is back.
    assert len(used) <= 4
