"""Alarms, by the real clock."""

import queue
import threading
import time

import pytest
from littlebig_alarms import Alarms

LATE = 10


@pytest.fixture
def rung():
    return queue.SimpleQueue()


def test_the_nearest_alarm_rings_first_and_none_before_its_time(rung):
    alarms, now = Alarms(), time.monotonic()
    for after in (0.09, 0.03, 0.06):
        alarms.at(now + after, lambda after=after: rung.put((after, time.monotonic() - now)))
    for due in (0.03, 0.06, 0.09):
        after, rang = rung.get(timeout=LATE)
        assert after == due
        assert rang >= due


def test_one_that_is_due_already_rings_at_once_though_another_is_far_away(rung):
    alarms, now = Alarms(), time.monotonic()
    alarms.at(now + 3600, lambda: rung.put("far"))
    alarms.at(now - 1, lambda: rung.put("due"))
    assert rung.get(timeout=LATE) == "due"


def test_a_cancelled_alarm_does_not_ring_and_cancelling_twice_is_no_mistake(rung):
    alarms, now = Alarms(), time.monotonic()
    cancelled = alarms.at(now + 0.05, lambda: rung.put("cancelled"))
    alarms.cancel(cancelled)
    alarms.cancel(cancelled)
    alarms.at(now + 0.1, lambda: rung.put("kept"))
    assert rung.get(timeout=LATE) == "kept"


def test_one_that_fails_is_told_and_does_not_silence_those_after_it(rung, capsys):
    alarms = Alarms()
    alarms.at(0, lambda: 1 / 0)
    alarms.at(1, lambda: rung.put("next"))
    assert rung.get(timeout=LATE) == "next"
    alarms.at(0, lambda: rung.put("one more"))
    assert rung.get(timeout=LATE) == "one more"
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_without_alarms_there_is_no_thread():
    before = threading.active_count()
    Alarms()
    assert threading.active_count() == before
