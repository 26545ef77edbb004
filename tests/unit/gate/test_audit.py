import queue
import threading

import numpy as np
import pytest
from littlebig_audit import Auditor


@pytest.fixture
def outcomes():
    return queue.Queue()


def images(*pixels):
    made = np.zeros((len(pixels), 2, 2, 3), np.uint8)
    made[:, 0, 0, 0] = pixels
    return made


def first_pixel(image):
    return int(image[0, 0, 0, 0])


def next_of(outcomes):
    return outcomes.get(timeout=10)


def test_chosen_images_are_audited_after_the_poll(outcomes):
    audit = Auditor(1.0, first_pixel, lambda: False, outcomes.put)
    audit.choose(images(7, 8), np.array([[7], [9]], np.int32))
    assert outcomes.empty()  # the request is not answered yet
    audit.poll()
    assert [next_of(outcomes), next_of(outcomes)] == ["agree", "disagree"]


def test_audits_are_dropped_while_big_is_busy(outcomes):
    audit = Auditor(1.0, lambda image: pytest.fail("big was asked"), lambda: True, outcomes.put)
    audit.choose(images(7), np.array([7]))
    audit.poll()
    assert next_of(outcomes) == "dropped"


def test_the_surplus_of_a_burst_is_dropped(outcomes):
    asked, answer = threading.Event(), threading.Event()

    def slow(image):
        asked.set()
        assert answer.wait(10)
        return first_pixel(image)

    audit = Auditor(1.0, slow, lambda: False, outcomes.put)
    audit.choose(images(1), np.array([1]))
    audit.poll()
    assert asked.wait(10)
    audit.choose(images(*range(10)), np.arange(10))
    audit.poll()
    assert [next_of(outcomes) for _ in range(6)] == ["dropped"] * 6
    answer.set()
    assert [next_of(outcomes) for _ in range(5)] == ["agree"] * 5


def test_a_failed_audit_is_counted_and_the_next_one_runs(outcomes):
    answers = iter([RuntimeError("big is unloaded"), 2])

    def ask(image):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    audit = Auditor(1.0, ask, lambda: False, outcomes.put)
    audit.choose(images(1, 2), np.array([1, 2]))
    audit.poll()
    assert [next_of(outcomes), next_of(outcomes)] == ["failed", "agree"]


def test_images_are_chosen_at_the_rate(outcomes):
    audit = Auditor(0.1, first_pixel, lambda: True, outcomes.put, seed=1)
    audit.choose(images(*([0] * 10_000)), np.zeros(10_000))
    audit.poll()
    chosen = 0
    while True:
        try:
            outcomes.get(timeout=0.2)
        except queue.Empty:
            break
        chosen += 1
    assert 900 < chosen < 1100


def test_a_chosen_image_is_copied(outcomes):
    audit = Auditor(1.0, first_pixel, lambda: False, outcomes.put)
    borrowed = images(7)
    audit.choose(borrowed, np.array([7]))
    borrowed[:] = 0
    audit.poll()
    assert next_of(outcomes) == "agree"


def test_rate_0_starts_no_thread():
    before = threading.active_count()
    Auditor(0.0, first_pixel, lambda: False, print)
    assert threading.active_count() == before


def test_stop_ends_the_thread(outcomes):
    before = set(threading.enumerate())
    audit = Auditor(1.0, first_pixel, lambda: False, outcomes.put)
    (thread,) = set(threading.enumerate()) - before
    audit.stop()
    thread.join(10)
    assert not thread.is_alive()
