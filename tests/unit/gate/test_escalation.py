"""Calls of big against a stage that does as it is told, and a clock that does too."""

import threading

import numpy as np
import pytest
from littlebig_breaker import CLOSED, HALF_OPEN, OPEN
from littlebig_escalation import BigStage, Failure, StageFailed
from littlebig_images import Images

IN_FLIGHT = 2
IMAGES = Images(np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3))


class Stage:
    """Answers each image with its first pixel, once it is allowed to."""

    def __init__(self):
        self.open = threading.Event()
        self.open.set()
        self.error = ""
        self.calls = []

    def __call__(self, images, outputs, timeout_us):
        self.calls.append((len(images), timeout_us))
        assert self.open.wait(10)
        if self.error:
            raise StageFailed(self.error)
        return {name: images.pixels[:, 0, 0, :1].astype(np.int32) for name in outputs}


class Answered:
    """Collects what callers are told; waits for it."""

    def __init__(self):
        self.results, self._more = [], threading.Condition()

    def __call__(self, result):
        with self._more:
            self.results.append(result)
            self._more.notify()

    def wait(self, count=1):
        with self._more:
            assert self._more.wait_for(lambda: len(self.results) >= count, 10)
        return self.results


@pytest.fixture
def stage():
    stage = Stage()
    yield stage
    stage.open.set()


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def big(stage, clock):
    return BigStage(stage, in_flight=IN_FLIGHT, timeout=1.0, retry=0.5, max_batch_size=2, clock=lambda: clock[0])


def ask(big, answered, images=IMAGES, timeout_us=0):
    with big.reserve() as place:
        big.ask(place, lambda: images, len(images), ["label"], timeout_us, answered)


def test_a_batch_is_asked_in_calls_of_at_most_bigs_batch_size(big, stage):
    answered = Answered()
    ask(big, answered)
    assert answered.wait()[0]["label"].ravel().tolist() == IMAGES.pixels[:, 0, 0, 0].tolist()
    assert [rows for rows, _ in stage.calls] == [2, 1]


def test_a_batch_of_which_nothing_is_wanted_any_more_makes_no_call(big, stage):
    answered = Answered()
    ask(big, answered, images=IMAGES.part(0, 0))
    assert answered.wait() == [{}]
    assert stage.calls == []


def test_a_batch_of_which_nothing_was_asked_says_nothing_about_big(big, stage):
    stage.error = "out of memory"
    answered = Answered()
    for count, images in enumerate((IMAGES, IMAGES, IMAGES.part(0, 0), IMAGES), 1):
        ask(big, answered, images=images)
        answered.wait(count)
    assert big.breaker.state == OPEN  # three errors, and no success between them


def test_bigs_rate_is_of_the_images_that_it_was_asked_for(big, stage, clock):
    stage.open.clear()
    answered = Answered()
    with big.reserve() as place:  # of three images two are not wanted any more
        big.ask(place, lambda: IMAGES.part(0, 1), len(IMAGES), ["label"], 0, answered)
    clock[0] = 0.5
    stage.open.set()
    answered.wait()
    big.tick()
    assert big.seconds_per_image() == pytest.approx(0.5)


def test_the_callers_own_timeout_is_passed_on_when_it_is_shorter(big, stage):
    answered = Answered()
    for timeout_us in (0, 2_000_000, 300_000):
        ask(big, answered, IMAGES.part(0, 1), timeout_us)
    answered.wait(3)
    assert sorted(timeout for _, timeout in stage.calls) == [300_000, 1_000_000, 1_000_000]


def test_no_more_batches_are_taken_while_as_many_as_allowed_wait(big, stage):
    stage.open.clear()
    answered, reserved = Answered(), threading.Event()
    ask(big, answered)
    ask(big, answered)
    assert big.batches == 2

    def third():
        with big.reserve():
            reserved.set()

    threading.Thread(target=third, daemon=True).start()
    assert not reserved.wait(0.1)
    stage.open.set()
    assert reserved.wait(10)


def test_who_has_no_time_to_wait_for_a_place_is_told_that_there_is_none(big, stage):
    stage.open.clear()
    answered = Answered()
    ask(big, answered)
    ask(big, answered)
    for _ in range(2):  # and takes none away
        with big.reserve(patience=0.01) as place:
            assert place is None
    stage.open.set()
    answered.wait(2)
    with big.reserve(patience=10) as place:
        assert place is not None


def test_an_error_is_told_with_its_reason(big, stage):
    stage.error = "out of memory"
    answered = Answered()
    ask(big, answered)
    assert answered.wait() == [Failure("error", "out of memory")]


def test_whatever_goes_wrong_the_callers_hear_of_it(big):
    answered = Answered()
    with big.reserve() as place:
        big.ask(place, lambda: 1 / 0, 1, ["label"], 0, answered)
    assert answered.wait() == [Failure("error", "ZeroDivisionError: division by zero")]
    assert big.batches == 0


def test_what_goes_wrong_before_big_is_asked_does_not_count_against_it(big):
    answered = Answered()
    for _ in range(5):
        with big.reserve() as place:
            big.ask(place, lambda: 1 / 0, 1, ["label"], 0, answered)
    answered.wait(5)
    assert big.breaker.state == CLOSED


def test_what_goes_wrong_before_big_is_asked_takes_no_place(big):
    for _ in range(3):  # one more than there are places
        with pytest.raises(MemoryError), big.reserve():
            raise MemoryError


def test_a_call_that_runs_out_of_time_is_given_up_once_and_frees_its_place(big, stage, clock):
    stage.open.clear()
    answered = Answered()
    ask(big, answered)
    ask(big, answered)
    clock[0] = 0.9
    big.tick()
    assert answered.results == []
    clock[0] = 1.0
    big.tick()
    assert answered.results == [Failure("timeout", "no answer within 1000 ms")] * 2
    assert (big.batches, big.rows) == (0, 0)
    stage.open.set()
    with big.reserve():  # does not block
        pass
    assert len(answered.results) == 2


def test_an_open_breaker_answers_at_once_and_a_probe_closes_it(big, stage, clock):
    stage.open.clear()
    answered = Answered()
    ask(big, answered)
    until(lambda: stage.calls)
    clock[0] = 1.0
    big.tick()
    assert big.breaker.state == OPEN
    ask(big, answered)
    assert answered.results[-1] == Failure("breaker_open", "left alone since it failed: no answer within 1000 ms")
    calls = len(stage.calls)
    clock[0] = 1.5
    big.tick()
    assert big.breaker.state == HALF_OPEN
    stage.open.set()
    until(lambda: big.breaker.state == CLOSED)
    assert stage.calls[calls] == (1, 1_000_000)  # one image, that nobody waits for
    ask(big, answered)
    assert set(answered.wait(3)[-1]) == {"label"}


def test_an_answer_that_comes_too_late_does_not_close_the_breaker(big, stage, clock):
    stage.open.clear()
    answered = Answered()
    ask(big, answered)
    until(lambda: stage.calls)
    clock[0] = 1.0
    big.tick()
    stage.open.set()
    clock[0] = 1.4
    big.tick()
    assert big.breaker.state == OPEN
    assert len(answered.results) == 1


def test_a_hung_stage_is_probed_by_a_bounded_number_of_threads(big, stage, clock):
    before = threading.active_count() - IN_FLIGHT
    stage.open.clear()
    answered = Answered()
    ask(big, answered)
    until(lambda: stage.calls)
    for step in range(2, 60):
        clock[0] = step / 2
        big.tick()
    until(lambda: len(stage.calls) == 1 + 8)
    assert threading.active_count() - before == 1 + 8


def test_impatient_callers_do_not_open_the_breaker_for_everybody(big, stage):
    stage.error = "request timeout expired"
    answered = Answered()
    for count in range(1, 6):
        ask(big, answered, timeout_us=10)
        answered.wait(count)
    assert big.breaker.state == CLOSED


def test_a_hung_stage_opens_it_for_impatient_callers_too(big, stage, clock):
    stage.open.clear()
    answered = Answered()
    ask(big, answered, timeout_us=10)
    until(lambda: stage.calls)
    clock[0] = 1.0
    big.tick()
    assert answered.wait() == [Failure("timeout", "no answer within 1000 ms")]
    assert big.breaker.state == OPEN
    ask(big, answered, timeout_us=10)
    assert answered.wait(2)[1].reason == "breaker_open"
    assert len(stage.calls) == 1


def until(condition):
    """Wait for another thread."""
    ready = threading.Event()
    for _ in range(1000):
        if condition():
            return
        ready.wait(0.01)
    pytest.fail("it never came")
