"""The timer, by the real clock."""

import queue
import threading
import time

import pytest
from littlebig_timer import Timer

LATE = 10


@pytest.fixture
def problems():
    return queue.SimpleQueue()


@pytest.fixture
def timer(problems):
    timer = Timer(problems.put)
    yield timer
    timer.stop()


@pytest.fixture
def calls():
    return queue.SimpleQueue()


def test_deadlines_are_called_in_order_and_none_too_early(timer, calls):
    now = time.monotonic()
    for after in (0.09, 0.03, 0.06):
        timer.at(now + after, lambda after=after: calls.put((after, time.monotonic() - now)))
    for due in (0.03, 0.06, 0.09):
        after, called = calls.get(timeout=LATE)
        assert after == due
        assert called >= due


def test_a_deadline_in_the_past_is_called_at_once_though_another_is_far_away(timer, calls):
    now = time.monotonic()
    timer.at(now + 3600, lambda: calls.put("far"))
    timer.at(now - 1, lambda: calls.put("past"))
    assert calls.get(timeout=LATE) == "past"


def test_a_cancelled_deadline_is_not_called_and_cancelling_twice_is_allowed(timer, calls):
    now = time.monotonic()
    cancelled = timer.at(now + 0.05, lambda: calls.put("cancelled"))
    timer.cancel(cancelled)
    timer.cancel(cancelled)
    timer.at(now + 0.1, lambda: calls.put("kept"))
    assert calls.get(timeout=LATE) == "kept"


def test_a_callback_that_raises_is_reported_and_the_others_run(timer, calls, problems):
    timer.at(0, lambda: 1 / 0)
    timer.at(1, lambda: calls.put("next"))
    assert calls.get(timeout=LATE) == "next"
    assert problems.get(timeout=LATE) == "ZeroDivisionError: division by zero"


def test_periodic_work_goes_on_after_it_has_raised(timer, calls, problems):
    def work():
        calls.put("called")
        raise ValueError("no metrics")

    timer.every(0.01, work)
    for _ in range(3):
        assert calls.get(timeout=LATE) == "called"
        assert problems.get(timeout=LATE) == "ValueError: no metrics"


def test_stop_ends_the_thread(problems):
    before = set(threading.enumerate())
    timer = Timer(problems.put)
    (thread,) = set(threading.enumerate()) - before
    timer.at(time.monotonic() + 3600, lambda: None)
    timer.stop()
    assert not thread.is_alive()
