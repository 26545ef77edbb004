import queue
import threading

import numpy as np
import pytest
from littlebig_audit import Auditor, Chosen, Prediction
from littlebig_audit_folder import AuditFolder


@pytest.fixture
def outcomes():
    return queue.Queue()


def chosen(pixel, label=None, sure=True):
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[0, 0, 0, 0] = pixel
    return Chosen(image, Prediction(pixel if label is None else label, 0.9, 0.8), sure)


def first_pixel(image):
    return Prediction(int(image[0, 0, 0, 0]), 0.7, 0.6)


def no():
    return False


def yes():
    return True


def next_of(outcomes):
    return outcomes.get(timeout=10)


def test_chosen_images_are_audited_after_the_poll(outcomes):
    audit = Auditor(1.0, first_pixel, no, no, outcomes.put)
    audit.choose(chosen(7))
    audit.choose(chosen(8, label=9))
    assert outcomes.empty()  # the request is not answered yet
    audit.poll()
    assert [next_of(outcomes), next_of(outcomes)] == ["agree", "disagree"]


@pytest.mark.parametrize(("busy", "broken"), [(yes, no), (no, yes)])
def test_audits_are_dropped_while_big_is_busy_or_broken(outcomes, busy, broken):
    audit = Auditor(1.0, lambda image: pytest.fail("big was asked"), busy, broken, outcomes.put)
    audit.choose(chosen(7))
    audit.poll()
    assert next_of(outcomes) == "dropped"


def test_the_surplus_of_a_burst_is_dropped(outcomes):
    asked, answer = threading.Event(), threading.Event()

    def slow(image):
        asked.set()
        assert answer.wait(10)
        return first_pixel(image)

    audit = Auditor(1.0, slow, no, no, outcomes.put)
    audit.choose(chosen(1))
    audit.poll()
    assert asked.wait(10)
    for pixel in range(10):
        audit.choose(chosen(pixel))
    audit.poll()
    assert [next_of(outcomes) for _ in range(6)] == ["dropped"] * 6
    answer.set()
    assert [next_of(outcomes) for _ in range(5)] == ["agree"] * 5


def test_a_failed_audit_is_counted_and_the_next_one_runs(outcomes):
    answers = iter([RuntimeError("big is unloaded"), Prediction(2, 0.5, 0.5)])

    def ask(image):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    audit = Auditor(1.0, ask, no, no, outcomes.put)
    audit.choose(chosen(1))
    audit.choose(chosen(2))
    audit.poll()
    assert [next_of(outcomes), next_of(outcomes)] == ["failed", "agree"]


def test_rows_are_chosen_at_the_rate():
    audit = Auditor(0.1, first_pixel, no, no, print, seed=1)
    assert 900 < len(audit.toss(range(10_000))) < 1100


def test_rate_0_starts_no_thread():
    before = threading.active_count()
    Auditor(0.0, first_pixel, no, no, print).stop()
    assert threading.active_count() == before


def test_stop_ends_the_thread(outcomes):
    before = set(threading.enumerate())
    audit = Auditor(1.0, first_pixel, no, no, outcomes.put)
    (thread,) = set(threading.enumerate()) - before
    audit.stop()
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def folder(tmp_path, outcomes):
    """A folder whose outcomes arrive with those of the sure images."""
    return AuditFolder(tmp_path / "audits", 100, {}, print, lambda outcome: outcomes.put(f"folder: {outcome}"))


def test_with_a_folder_unsure_images_are_audited_for_it_alone(outcomes, folder):
    audit = Auditor(1.0, first_pixel, no, no, outcomes.put, folder)
    assert audit.keeps
    audit.choose(chosen(1, sure=False))
    audit.choose(chosen(2))
    audit.poll()
    assert [next_of(outcomes) for _ in range(3)] == ["folder: kept", "agree", "folder: kept"]


def test_with_a_folder_an_audit_waits_for_big_and_is_asked_in_the_end(outcomes, folder):
    audit = Auditor(1.0, first_pixel, yes, no, outcomes.put, folder)
    audit.choose(chosen(1))
    audit.poll()
    assert [next_of(outcomes) for _ in range(2)] == ["agree", "folder: kept"]


def test_with_a_folder_losses_are_counted_for_it_too(outcomes, folder):
    audit = Auditor(1.0, first_pixel, no, yes, outcomes.put, folder)
    audit.choose(chosen(1))
    audit.choose(chosen(2, sure=False))
    audit.poll()
    assert [next_of(outcomes) for _ in range(3)] == ["dropped", "folder: dropped", "folder: dropped"]


def test_stop_writes_the_last_counts(outcomes, folder, tmp_path):
    audit = Auditor(1.0, first_pixel, no, no, outcomes.put, folder)
    assert audit.toss([0, 1]) == [0, 1]
    audit.choose(chosen(1))
    audit.poll()
    assert [next_of(outcomes) for _ in range(2)] == ["agree", "folder: kept"]
    audit.stop()
    last = (tmp_path / "audits" / "manifest.jsonl").read_text().splitlines()[-1]
    assert '"record": "counts"' in last
    assert '"seen": 2, "chosen": 2, "kept": 1' in last
