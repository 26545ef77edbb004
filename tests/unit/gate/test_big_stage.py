"""Calls of big, against a stage and a clock that the test controls."""

import threading

import numpy as np
import pytest
from littlebig_big_stage import MAX_PROBES, BigStage
from littlebig_breaker import CLOSED, HALF_OPEN, OPEN
from littlebig_errors import BigFailure, StageFailed
from littlebig_images import Images

IN_FLIGHT = 2
IMAGES = Images(np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3))
NONE = IMAGES.part(0, 0)
TIMEOUT = BigFailure("timeout", "no answer within 1000 ms")


class Stage:
    """Answers each image with its first pixel, once it is released."""

    def __init__(self):
        self.released = threading.Event()
        self.released.set()
        self.error, self.blames = "", True
        self.calls = []

    def __call__(self, images, outputs, timeout_us):
        self.calls.append((len(images), timeout_us))
        assert self.released.wait(10)
        if self.error:
            raise StageFailed(self.error, self.blames)
        return {name: images.pixels[:, 0, 0, :1].astype(np.int32) for name in outputs}


class Settled:
    """Collects the results of batches."""

    def __init__(self):
        self.results, self._changed = [], threading.Condition()

    def add(self, result):
        with self._changed:
            self.results.append(result)
            self._changed.notify()

    def wait(self, count=1):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.results) >= count, 10)
        return self.results


class FakeBatch:
    """An escalated batch whose images are given; `images` may be an exception."""

    outputs = ("label",)

    def __init__(self, settled, images=IMAGES, rows=None, timeout_us=0):
        self._images, self.settle = images, settled.add
        self.rows = len(IMAGES) if rows is None else rows
        self.timeout_us = timeout_us

    def images(self, buffer):
        if isinstance(self._images, Exception):
            raise self._images
        return self._images


@pytest.fixture
def stage():
    stage = Stage()
    yield stage
    stage.released.set()


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def settled():
    return Settled()


@pytest.fixture
def big(stage, clock):
    return BigStage(
        stage,
        max_in_flight=IN_FLIGHT,
        timeout_s=1.0,
        retry_s=0.5,
        max_batch_size=2,
        make_buffer=lambda: np.zeros((2, 4, 4, 3), np.uint8),
        clock=lambda: clock[0],
    )


@pytest.fixture
def submit(big, settled):
    """submit(images=..., timeout_us=...) with a slot of its own."""

    def submit(*args, **options):
        with big.acquire_slot() as slot:
            big.submit(FakeBatch(settled, *args, **options), slot)

    return submit


def until(condition):
    """Wait for another thread."""
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.01)
    pytest.fail("the condition never became true")


def test_a_batch_is_split_into_calls_of_bigs_batch_size(submit, stage, settled):
    submit()
    assert settled.wait()[0]["label"].ravel().tolist() == IMAGES.pixels[:, 0, 0, 0].tolist()
    assert [images for images, _ in stage.calls] == [2, 1]


def test_a_batch_without_images_makes_no_call(submit, stage, settled):
    submit(NONE)
    assert settled.wait() == [{}]
    assert stage.calls == []


def test_a_batch_without_images_does_not_reset_the_count_of_errors(big, submit, stage, settled):
    stage.error = "out of memory"
    for count, images in enumerate((IMAGES, IMAGES, NONE, IMAGES), 1):
        submit(images)
        settled.wait(count)
    assert big.breaker.state == OPEN  # after three errors


def test_the_rate_counts_only_images_that_big_was_asked_for(big, submit, stage, settled, clock):
    stage.released.clear()
    submit(IMAGES.part(0, 1), rows=3)
    clock[0] = 0.5
    stage.released.set()
    settled.wait()
    big.poll()
    assert big.seconds_per_image() == pytest.approx(0.5)


def test_the_callers_timeout_is_passed_on_when_it_is_shorter(submit, stage, settled):
    for timeout_us in (0, 2_000_000, 300_000):
        submit(IMAGES.part(0, 1), timeout_us=timeout_us)
    settled.wait(3)
    assert sorted(timeout for _, timeout in stage.calls) == [300_000, 1_000_000, 1_000_000]


def test_no_slot_is_free_while_as_many_batches_as_allowed_wait(big, submit, stage):
    stage.released.clear()
    submit()
    submit()
    assert big.batches == 2
    acquired = threading.Event()

    def third():
        with big.acquire_slot():
            acquired.set()

    threading.Thread(target=third, daemon=True).start()
    assert not acquired.wait(0.1)
    stage.released.set()
    assert acquired.wait(10)


def test_a_slot_that_is_not_free_in_time_is_none(big, submit, stage, settled):
    stage.released.clear()
    submit()
    submit()
    for _ in range(2):  # a failed attempt takes no slot away
        with big.acquire_slot(max_wait_s=0.01) as slot:
            assert slot is None
    stage.released.set()
    settled.wait(2)
    with big.acquire_slot(max_wait_s=10) as slot:
        assert slot is not None


def test_an_error_of_big_settles_the_batch_with_its_message(submit, stage, settled):
    stage.error = "out of memory"
    submit()
    assert settled.wait() == [BigFailure("error", "out of memory")]


def test_an_error_that_says_nothing_about_big_opens_no_breaker(big, submit, stage, settled):
    stage.error, stage.blames = "batch size 261 for 'big_0_0', max allowed is 32", False
    for _ in range(5):
        submit()
    assert {result.message for result in settled.wait(5)} == {stage.error}
    assert big.breaker.state == CLOSED


def test_an_unexpected_exception_settles_the_batch_and_does_not_count_against_big(big, submit, settled):
    for _ in range(5):
        submit(ZeroDivisionError("division by zero"))
    assert settled.wait(5) == [BigFailure("error", "ZeroDivisionError: division by zero")] * 5
    assert big.batches == 0
    assert big.breaker.state == CLOSED


def test_an_exception_before_submit_frees_the_slot(big):
    for _ in range(IN_FLIGHT + 1):
        with pytest.raises(MemoryError), big.acquire_slot():
            raise MemoryError


def test_an_overdue_batch_is_settled_once_and_frees_its_slot(big, submit, stage, settled, clock):
    stage.released.clear()
    submit()
    submit()
    clock[0] = 0.9
    big.poll()
    assert settled.results == []
    clock[0] = 1.0
    big.poll()
    assert settled.results == [TIMEOUT] * 2
    assert (big.batches, big.rows) == (0, 0)
    stage.released.set()
    with big.acquire_slot():  # does not block
        pass
    assert len(settled.results) == 2


def test_an_open_breaker_settles_at_once_and_a_probe_closes_it(big, submit, stage, settled, clock):
    stage.released.clear()
    submit()
    until(lambda: stage.calls)
    clock[0] = 1.0
    big.poll()
    assert big.breaker.state == OPEN
    submit()
    assert settled.results[-1] == BigFailure("breaker_open", "its circuit breaker is open: no answer within 1000 ms")
    calls = len(stage.calls)
    clock[0] = 1.5
    big.poll()
    assert big.breaker.state == HALF_OPEN
    stage.released.set()
    until(lambda: big.breaker.state == CLOSED)
    assert stage.calls[calls] == (1, 1_000_000)  # one image that no caller waits for
    submit()
    assert set(settled.wait(3)[-1]) == {"label"}


def test_an_answer_after_the_timeout_does_not_close_the_breaker(big, submit, stage, settled, clock):
    stage.released.clear()
    submit()
    until(lambda: stage.calls)
    clock[0] = 1.0
    big.poll()
    stage.released.set()
    clock[0] = 1.4
    big.poll()
    assert big.breaker.state == OPEN
    assert len(settled.results) == 1


def test_a_hung_stage_holds_a_bounded_number_of_threads(big, submit, stage, clock):
    before = threading.active_count()
    stage.released.clear()
    submit()
    until(lambda: stage.calls)
    for step in range(2, 60):
        clock[0] = step / 2
        big.poll()
    until(lambda: len(stage.calls) == 1 + MAX_PROBES)
    assert threading.active_count() - before == MAX_PROBES


def test_a_batch_is_asked_although_all_earlier_calls_hang(big, submit, stage, settled, clock):
    stage.released.clear()
    for _ in range(IN_FLIGHT):
        submit(IMAGES.part(0, 1))
    until(lambda: len(stage.calls) == IN_FLIGHT)
    clock[0] = 1.0
    big.poll()
    big.breaker.succeeded()
    submit(IMAGES.part(0, 1))
    until(lambda: len(stage.calls) == IN_FLIGHT + 1)


def test_errors_of_calls_with_a_short_callers_timeout_do_not_open_the_breaker(big, submit, stage, settled):
    stage.error = "request timeout expired"
    for count in range(1, 6):
        submit(timeout_us=10)
        settled.wait(count)
    assert big.breaker.state == CLOSED


def test_a_hung_stage_opens_the_breaker_whatever_the_callers_timeouts(big, submit, stage, settled, clock):
    stage.released.clear()
    submit(timeout_us=10)
    until(lambda: stage.calls)
    clock[0] = 1.0
    big.poll()
    assert settled.wait() == [TIMEOUT]
    assert big.breaker.state == OPEN
    submit(timeout_us=10)
    assert settled.wait(2)[1].reason == "breaker_open"
    assert len(stage.calls) == 1
