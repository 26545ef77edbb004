"""Requests that wait for big, some with time limits, and a timer that the test drives."""

import gc
import threading
import weakref

import numpy as np
import pytest
from littlebig_errors import BigFailure
from littlebig_escalated_batch import EscalatedBatch
from littlebig_settings import GateSettings
from tests.unit.gate.batches import LITTLE_STANDS_IN, RECEIVED, big, counted, decided, make_request, plain
from tests.unit.gate.test_batch import CALLER_TIMEOUT


class Deadline:
    """Holds its callback, as the real timer's deadlines do."""

    def __init__(self, when, callback):
        self.when, self.callback = when, callback


class ManualTimer:
    """Calls back when the test says so."""

    def __init__(self):
        self.deadlines = []

    def at(self, when, callback):
        self.deadlines.append(Deadline(when, callback))
        return self.deadlines[-1]

    def cancel(self, deadline):
        if deadline in self.deadlines:
            self.deadlines.remove(deadline)

    def advance_to(self, now):
        for deadline in sorted((d for d in self.deadlines if d.when <= now), key=lambda d: d.when):
            self.deadlines.remove(deadline)
            deadline.callback()


class Responses:
    """Collects what each request is sent, in order."""

    def __init__(self):
        self.sent = []

    def __call__(self, responses):
        self.sent += responses

    def to(self, request):
        """(label, stage) of each image, or (code, message)."""
        (response,) = (plain(response) for receiver, response in self.sent if receiver is request)
        return response if isinstance(response, tuple) else list(zip(response["label"], response["stage"], strict=True))


@pytest.fixture
def timer():
    return ManualTimer()


@pytest.fixture
def responses():
    return Responses()


@pytest.fixture
def escalate(timer, responses):
    """escalate(batch, cancelled=[requests]) -> EscalatedBatch."""
    return lambda batch, cancelled=(): EscalatedBatch(batch, lambda request: request in cancelled, responses, timer)


def test_a_request_past_its_limit_gets_littles_answer_and_the_others_get_bigs(timer, responses, escalate):
    first, unlimited, second = (
        make_request(10, timeout_us=50_000),
        make_request(20, 30),
        make_request(40, 90, timeout_us=80_000),
    )
    batch, tally = decided(first, unlimited, second, settings=LITTLE_STANDS_IN)
    escalated = escalate(batch)
    images = escalated.images()
    timer.advance_to(RECEIVED + 0.049)
    assert responses.sent == []
    timer.advance_to(RECEIVED + 0.05)
    assert responses.to(first) == [(10, 2)]
    timer.advance_to(RECEIVED + 0.08)
    assert responses.to(second) == [(40, 2), (90, 0)]
    escalated.settle(big(images))
    assert responses.to(unlimited) == [(1020, 1), (1030, 1)]
    assert responses.to(first) == [(10, 2)]
    assert counted(tally) == {"little/sure": 1, "little/big_failed": 2, "big/unsure": 2}


def test_a_request_past_its_limit_gets_an_error_where_little_may_not_stand_in(timer, responses, escalate):
    limited, unlimited = make_request(10, timeout_us=50_000), make_request(20)
    batch, tally = decided(limited, unlimited)
    escalated = escalate(batch)
    images = escalated.images()
    timer.advance_to(RECEIVED + 1)
    assert responses.to(limited) == CALLER_TIMEOUT
    escalated.settle(big(images))
    assert responses.to(unlimited) == [(1020, 1)]
    counts, _ = tally.take()
    failures = {dict(labels)["reason"]: n for (of, labels), n in counts.items() if of == "littlebig_big_failures_total"}
    assert {reason: n for reason, n in failures.items() if n} == {"caller_timeout": 1}
    # The stage is not to blame.
    assert all(n == 0 for (of, _), n in counts.items() if of == "littlebig_image_errors_total")


def test_a_request_of_policy_big_past_its_limit_gets_an_error(timer, responses, escalate):
    batch, _ = decided(only_big := make_request(90, policy="big", timeout_us=1000), settings=LITTLE_STANDS_IN)
    escalate(batch)
    timer.advance_to(RECEIVED + 1)
    assert responses.to(only_big) == CALLER_TIMEOUT


def test_big_is_not_asked_for_requests_past_their_limit(timer, responses, escalate):
    limited, unlimited = make_request(10, 15, timeout_us=1000), make_request(20)
    batch, _ = decided(limited, unlimited, settings=LITTLE_STANDS_IN)
    escalated = escalate(batch)
    timer.advance_to(RECEIVED + 1)
    images = escalated.images()
    assert images.pixels[:, 0, 0, 0].tolist() == [20]
    escalated.settle(big(images))
    assert responses.to(limited) == [(10, 2), (15, 2)]
    assert responses.to(unlimited) == [(1020, 1)]


@pytest.mark.parametrize("answer", ["big", "arbitrate"])
def test_no_image_is_left_when_all_requests_are_past_their_limits(timer, responses, escalate, answer):
    settings = GateSettings(0.5, on_big_failure="little", answer=answer)
    batch, tally = decided(make_request(10, timeout_us=1000), settings=settings)
    escalated = escalate(batch)
    timer.advance_to(RECEIVED + 1)
    assert len(escalated.images()) == 0
    escalated.settle({})
    assert len(responses.sent) == 1
    assert counted(tally, "littlebig_image_errors_total") == {}


def test_big_is_not_asked_for_cancelled_requests(responses, escalate):
    cancelled, other = make_request(10, 90), make_request(20)
    batch, _ = decided(cancelled, other)
    escalated = escalate(batch, cancelled=[cancelled])
    images = escalated.images()
    assert images.pixels[:, 0, 0, 0].tolist() == [20]
    escalated.settle(big(images))
    assert responses.to(cancelled) == ("CANCELLED", "cancelled by its caller")
    assert responses.to(other) == [(1020, 1)]


def test_no_image_is_left_when_all_requests_are_cancelled(responses, escalate):
    cancelled = make_request(10)
    batch, _ = decided(cancelled)
    escalated = escalate(batch, cancelled=[cancelled])
    assert len(escalated.images()) == 0
    escalated.settle({})
    assert responses.to(cancelled) == ("CANCELLED", "cancelled by its caller")


def test_the_time_limit_of_the_call_is_the_longest_of_the_waiting_requests(escalate):
    limited = [make_request(10, timeout_us=timeout_us) for timeout_us in (100, 300)]
    assert escalate(decided(*limited, make_request(90))[0]).timeout_us == 300
    assert escalate(decided(make_request(10, timeout_us=100), make_request(10))[0]).timeout_us == 0


def test_an_answer_in_time_leaves_no_deadline_behind(timer, responses, escalate):
    batch, _ = decided(request := make_request(10, timeout_us=50_000))
    escalated = escalate(batch)
    escalated.settle(big(escalated.images()))
    assert responses.to(request) == [(1010, 1)]
    assert timer.deadlines == []


@pytest.mark.parametrize("late", [False, True])
def test_images_are_freed_with_the_answer_without_a_garbage_collection(timer, escalate, late):
    requests = make_request(10, timeout_us=50_000), make_request(20, timeout_us=60_000)
    batch, _ = decided(*requests, settings=LITTLE_STANDS_IN)
    alive = weakref.ref(batch)
    escalated = escalate(batch)
    answers = big(escalated.images())
    if late:
        timer.advance_to(RECEIVED + 0.05)
    escalated.settle(answers)
    gc.disable()
    try:
        del batch, escalated
        assert alive() is None
    finally:
        gc.enable()


def test_a_deadline_that_passes_with_the_answer_changes_nothing(timer, responses, escalate):
    batch, tally = decided(request := make_request(10, timeout_us=50_000))
    escalated = escalate(batch)
    (deadline,) = timer.deadlines
    escalated.settle(big(escalated.images()))
    deadline.callback()
    assert responses.to(request) == [(1010, 1)]
    assert counted(tally, "littlebig_big_failures_total") == {}


def test_a_later_failure_of_big_affects_only_the_requests_that_still_wait(timer, responses, escalate):
    limited, unlimited = make_request(10, timeout_us=50_000), make_request(20)
    batch, tally = decided(limited, unlimited, settings=LITTLE_STANDS_IN)
    escalated = escalate(batch)
    escalated.images()
    timer.advance_to(RECEIVED + 1)
    escalated.settle(BigFailure("timeout", "no answer within 5000 ms"))
    assert responses.to(unlimited) == [(20, 2)]
    assert counted(tally, "littlebig_big_failures_total") == {"caller_timeout": 1, "timeout": 1}


def test_arbitration_does_not_change_an_answer_already_given(timer, responses, escalate):
    settings = GateSettings(0.8, answer="arbitrate", offset=0.5, on_big_failure="little")
    limited, surer, less_sure = (
        make_request(70, threshold=0.8, timeout_us=50_000),
        make_request(75, threshold=0.8),
        make_request(55, threshold=0.8),
    )
    batch, _ = decided(limited, surer, less_sure, settings=settings)
    escalated = escalate(batch)
    images = escalated.images()
    timer.advance_to(RECEIVED + 1)
    escalated.settle(big(images))
    assert [responses.to(request) for request in (limited, surer, less_sure)] == [[(70, 2)], [(75, 0)], [(1055, 1)]]


def test_each_request_is_answered_once_when_deadlines_and_answer_race(timer, responses, escalate):
    for _ in range(200):
        responses.sent.clear()
        timer.deadlines.clear()
        requests = [make_request(10 + n, timeout_us=1000 * (n + 1)) for n in range(4)]
        batch, _ = decided(*requests, settings=LITTLE_STANDS_IN)
        escalated = escalate(batch)
        answers = big(escalated.images())
        callbacks = [deadline.callback for deadline in timer.deadlines]
        start = threading.Barrier(2)

        def expire(start=start, callbacks=callbacks):
            start.wait()
            for callback in callbacks:
                callback()

        thread = threading.Thread(target=expire)
        thread.start()
        start.wait()
        escalated.settle(answers)
        thread.join()
        assert len(responses.sent) == len(requests)
        for n, request in enumerate(requests):
            assert responses.to(request) in ([(10 + n, 2)], [(1010 + n, 1)])


def test_bigs_answers_are_not_written_into_a_response_already_sent(timer, responses, escalate):
    limited, unlimited = make_request(10, timeout_us=1000), make_request(20)
    batch, _ = decided(limited, unlimited, settings=LITTLE_STANDS_IN)
    escalated = escalate(batch)
    images = escalated.images()
    timer.advance_to(RECEIVED + 1)
    ((_, response),) = responses.sent
    before = {name: array.copy() for name, array in response.items()}
    escalated.settle(big(images))
    for name, array in response.items():  # it may still be on its way
        np.testing.assert_array_equal(array, before[name])
