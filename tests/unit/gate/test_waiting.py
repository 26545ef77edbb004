"""Callers who wait for big, with time limits of their own, and alarms that ring when the test says so."""

import gc
import threading
import weakref

import numpy as np
import pytest
from littlebig_batch import TIMED_OUT
from littlebig_escalation import Failure
from littlebig_settings import Settings
from littlebig_waiting import Waiting
from tests.unit.gate.test_batch import big, counted, nobody, request, through

SINCE = 100.0


class Alarm:
    """Holds what it calls, as those of the schedule do."""

    def __init__(self, when, ring):
        self.when, self.ring = when, ring


class Alarms:
    """Rings on demand."""

    def __init__(self):
        self.set = []

    def at(self, when, ring):
        self.set.append(Alarm(when, ring))
        return self.set[-1]

    def cancel(self, alarm):
        if alarm in self.set:
            self.set.remove(alarm)

    def until(self, now):
        for alarm in sorted((alarm for alarm in self.set if alarm.when <= now), key=lambda alarm: alarm.when):
            self.set.remove(alarm)
            alarm.ring()


class Told:
    """What each request was told, and in which order."""

    def __init__(self):
        self.answers = []

    def __call__(self, answers):
        self.answers += answers

    def labels(self, one):
        (answer,) = (answer for asked, answer in self.answers if asked is one)
        return (
            answer
            if isinstance(answer, str)
            else list(zip(*(answer[n].ravel() for n in ("label", "stage")), strict=True))
        )


@pytest.fixture
def alarms():
    return Alarms()


@pytest.fixture
def told():
    return Told()


LITTLE = Settings(0.5, on_big_failure="little")


def test_who_is_in_a_hurry_gets_littles_answer_in_time_and_who_is_patient_gets_bigs(alarms, told):
    hurried, patient, slower = request(10, timeout_us=50_000), request(20, 30), request(40, 90, timeout_us=80_000)
    batch, tally = through(hurried, patient, slower, settings=LITTLE)
    waiting = Waiting(batch, SINCE, told, alarms)
    images = waiting.images(nobody, None)
    alarms.until(SINCE + 0.049)
    assert told.answers == []
    alarms.until(SINCE + 0.05)
    assert told.labels(hurried) == [(10, 2)]
    alarms.until(SINCE + 0.08)
    assert told.labels(slower) == [(40, 2), (90, 0)]
    waiting.settle(big(images))
    assert told.labels(patient) == [(1020, 1), (1030, 1)]
    assert told.labels(hurried) == [(10, 2)]  # once, and big's answer does not change what was said
    assert counted(tally) == {"little/sure": 1, "little/big_failed": 2, "big/unsure": 2}


def test_without_little_in_its_place_the_hurried_are_told_that_their_time_is_up(alarms, told):
    hurried, patient = request(10, timeout_us=50_000), request(20)
    batch, tally = through(hurried, patient)
    waiting = Waiting(batch, SINCE, told, alarms)
    images = waiting.images(nobody, None)
    alarms.until(SINCE + 1)
    assert told.labels(hurried) == TIMED_OUT
    waiting.settle(big(images))
    assert told.labels(patient) == [(1020, 1)]
    added, _ = tally.take()
    failures = {dict(labels)["reason"]: n for (of, labels), n in added.items() if of == "littlebig_big_failures_total"}
    assert {reason: n for reason, n in failures.items() if n} == {"caller_timeout": 1}
    # The stage is not to blame.
    assert all(n == 0 for (of, _), n in added.items() if of == "littlebig_image_errors_total")


def test_who_wants_big_alone_has_no_other_answer(alarms, told):
    batch, _ = through(only_big := request(90, policy="big", timeout_us=1000), settings=LITTLE)
    Waiting(batch, SINCE, told, alarms)
    alarms.until(SINCE + 1)
    assert told.labels(only_big) == TIMED_OUT


def test_who_gives_up_before_big_is_asked_costs_big_nothing(alarms, told):
    hurried, patient = request(10, 15, timeout_us=1000), request(20)
    batch, _ = through(hurried, patient, settings=LITTLE)
    waiting = Waiting(batch, SINCE, told, alarms)
    alarms.until(SINCE + 1)
    images = waiting.images(nobody, None)
    assert images.pixels[:, 0, 0, 0].tolist() == [20]
    waiting.settle(big(images))
    assert told.labels(hurried) == [(10, 2), (15, 2)]
    assert told.labels(patient) == [(1020, 1)]


def test_nothing_is_asked_for_callers_who_all_gave_up(alarms, told):
    batch, _ = through(request(10, timeout_us=1000), settings=LITTLE)
    waiting = Waiting(batch, SINCE, told, alarms)
    alarms.until(SINCE + 1)
    assert len(waiting.images(nobody, None)) == 0
    waiting.settle({})
    assert len(told.answers) == 1


def test_answers_in_time_leave_no_alarm_behind(alarms, told):
    batch, _ = through(one := request(10, timeout_us=50_000))
    waiting = Waiting(batch, SINCE, told, alarms)
    waiting.settle(big(waiting.images(nobody, None)))
    assert told.labels(one) == [(1010, 1)]
    assert alarms.set == []


@pytest.mark.parametrize("late", [False, True])
def test_images_are_let_go_with_the_answer_and_not_when_a_collector_comes_by(alarms, told, late):
    batch, _ = through(request(10, timeout_us=50_000), request(20, timeout_us=60_000), settings=LITTLE)
    gone = weakref.ref(batch)
    waiting = Waiting(batch, SINCE, told, alarms)
    answers = big(waiting.images(nobody, None))
    if late:
        alarms.until(SINCE + 0.05)
    waiting.settle(answers)
    gc.disable()
    try:
        del batch, waiting
        assert gone() is None
    finally:
        gc.enable()


def test_an_alarm_that_comes_with_the_answer_changes_nothing(alarms, told):
    batch, tally = through(one := request(10, timeout_us=50_000))
    waiting = Waiting(batch, SINCE, told, alarms)
    (alarm,) = alarms.set
    waiting.settle(big(waiting.images(nobody, None)))
    alarm.ring()
    assert told.labels(one) == [(1010, 1)]
    assert counted(tally, "littlebig_big_failures_total") == {}


def test_when_big_fails_later_only_those_who_still_wait_feel_it(alarms, told):
    hurried, patient = request(10, timeout_us=50_000), request(20)
    batch, tally = through(hurried, patient, settings=LITTLE)
    waiting = Waiting(batch, SINCE, told, alarms)
    waiting.images(nobody, None)
    alarms.until(SINCE + 1)
    waiting.settle(Failure("timeout", "no answer within 5000 ms"))
    assert told.labels(patient) == [(20, 2)]
    assert counted(tally, "littlebig_big_failures_total") == {"caller_timeout": 1, "timeout": 1}


def test_under_arbitration_too_the_answer_once_given_stands(alarms, told):
    settings = Settings(0.8, answer="arbitrate", offset=0.5, on_big_failure="little")
    hurried, surer, less = (
        request(70, threshold=0.8, timeout_us=50_000),
        request(75, threshold=0.8),
        request(55, threshold=0.8),
    )
    batch, _ = through(hurried, surer, less, settings=settings)
    waiting = Waiting(batch, SINCE, told, alarms)
    images = waiting.images(nobody, None)
    alarms.until(SINCE + 1)
    waiting.settle(big(images))
    assert [told.labels(one) for one in (hurried, surer, less)] == [[(70, 2)], [(75, 0)], [(1055, 1)]]


def test_each_is_answered_once_whoever_comes_first(alarms, told):
    for _ in range(200):
        told.answers.clear()
        requests = [request(10 + n, timeout_us=1000 * (n + 1)) for n in range(4)]
        batch, _ = through(*requests, settings=LITTLE)
        waiting = Waiting(batch, SINCE, told, alarms)
        answers = big(waiting.images(nobody, None))
        rings = [alarm.ring for alarm in alarms.set]
        start = threading.Barrier(2)

        def hurry(start=start, rings=rings):
            start.wait()
            for ring in rings:
                ring()

        thread = threading.Thread(target=hurry)
        thread.start()
        start.wait()
        waiting.settle(answers)
        thread.join()
        assert len(told.answers) == len(requests)
        for n, one in enumerate(requests):
            assert told.labels(one) in ([(10 + n, 2)], [(1010 + n, 1)])


def test_the_answer_to_the_hurried_is_not_written_over_by_bigs(alarms, told):
    hurried, patient = request(10, timeout_us=1000), request(20)
    batch, _ = through(hurried, patient, settings=LITTLE)
    waiting = Waiting(batch, SINCE, told, alarms)
    images = waiting.images(nobody, None)
    alarms.until(SINCE + 1)
    ((_, answer),) = told.answers
    kept = {name: array.copy() for name, array in answer.items()}
    waiting.settle(big(images))
    for name, array in answer.items():  # it may still be on its way
        np.testing.assert_array_equal(array, kept[name])
