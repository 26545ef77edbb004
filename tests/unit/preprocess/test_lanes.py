import threading
from collections import deque

import littlebig_lanes
import numpy as np
import pytest
from littlebig_lanes import QUICK_MIB, BadPicture, Lanes, LaneSettings, Overloaded, PendingRequest
from littlebig_preprocess import Job

from tests.fuzz.hostile import blank_png, encoded, gradient

from .reference import LIMITS, settings

SMALL = encoded(gradient(), "PNG")
LARGE = blank_png(4_000, 4_000, 8, 0)  # some 300 ms by its estimate


@pytest.fixture
def lanes():
    running = Lanes(settings(), LaneSettings(threads=2, large_threads=1, large_mib=400))
    yield running
    running.close()


def waiting(images, jobs, wanted=lambda: True):
    answers = []
    done = threading.Event()

    def answer(outcome):
        answers.append(outcome)
        done.set()

    return PendingRequest(images, jobs, answer, wanted), answers, done


def test_quick_pictures_are_decoded_and_large_ones_kept(lanes):
    images, jobs = lanes.gather(lanes.start([SMALL, LARGE, SMALL]))
    assert images.shape == (3, 32, 32, 3)
    assert images[0].any()
    assert (images[0] == images[2]).all()
    assert [position for position, _ in jobs] == [1]


def test_a_bad_picture_is_named_by_its_position(lanes):
    with pytest.raises(BadPicture, match=r"^encoded_image\[1\] is not a JPEG"):
        lanes.gather(lanes.start([SMALL, b"nonsense"]))


def test_a_request_is_answered_when_its_large_pictures_are_decoded(lanes):
    images, jobs = lanes.gather(lanes.start([SMALL, LARGE]))
    request, answers, done = waiting(images, jobs)
    lanes.wait(request)
    assert done.wait(60)
    assert answers[0][0].any()
    assert not answers[0][1].any()  # black


def test_quick_pictures_pass_large_ones(lanes, monkeypatch):
    blocked = threading.Event()
    monkeypatch.setattr(Job, "image", lambda job: blocked.wait(60) and np.zeros((32, 32, 3), np.uint8))
    request, answers, done = waiting(np.zeros((1, 32, 32, 3), np.uint8), deque([(0, Job(LARGE, settings()))]))
    lanes.wait(request)
    monkeypatch.undo()
    images, jobs = lanes.gather(lanes.start([SMALL] * 8))
    assert images.shape == (8, 32, 32, 3)
    assert not jobs
    assert not answers
    blocked.set()
    assert done.wait(60)


def test_a_large_picture_that_is_damaged_answers_its_request_with_its_position(lanes):
    broken = LARGE.replace(b"IDAT\x78", b"IDAT\x79")
    _, jobs = lanes.gather(lanes.start([SMALL, broken]))
    request, answers, done = waiting(np.zeros((2, 32, 32, 3), np.uint8), jobs)
    lanes.wait(request)
    assert done.wait(60)
    assert str(answers[0]) == "encoded_image[1] is a damaged PNG image: its pixel data is broken"


def test_pictures_that_nobody_waits_for_are_not_decoded(lanes, monkeypatch):
    _, jobs = lanes.gather(lanes.start([LARGE, LARGE]))
    monkeypatch.setattr(Job, "image", lambda job: pytest.fail("decoded"))
    request, answers, done = waiting(np.zeros((2, 32, 32, 3), np.uint8), jobs, wanted=lambda: False)
    lanes.wait(request)
    assert done.wait(60)
    assert len(answers) == 1


def test_too_many_waiting_bytes_are_rejected_and_freed_again(lanes, monkeypatch):
    monkeypatch.setattr(littlebig_lanes, "_MOST_WAITING", len(LARGE) + 1)
    released = threading.Event()
    decode = Job.image
    monkeypatch.setattr(Job, "image", lambda job: released.wait(60) and decode(job))

    def large():
        return waiting(np.zeros((1, 32, 32, 3), np.uint8), deque([(0, Job(LARGE, settings()))]))

    first, _, done = large()
    lanes.wait(first)
    with pytest.raises(Overloaded, match="large pictures wait to be decoded already: send it again later"):
        lanes.wait(large()[0])
    released.set()
    assert done.wait(60)
    again, _, done = large()
    lanes.wait(again)
    assert done.wait(60)


@pytest.mark.parametrize(
    ("budget", "instances", "expected"),
    [
        (4 * (4 * QUICK_MIB + 400), 4, LaneSettings(4, 1, 400)),
        (2 * (4 * QUICK_MIB + 800), 2, LaneSettings(4, 2, 400)),
        (1_000, 2, LaneSettings(2, 1, 400)),
        (600, 2, LaneSettings(1, 1, 252)),
        (200, 2, LaneSettings(1, 1, 52)),
    ],
)
def test_the_budget_is_divided_among_instances_and_threads(budget, instances, expected):
    parameters = {"threads": "4", "memory_budget_mib": str(budget)}
    lanes = LaneSettings.from_parameters(parameters, instances, LIMITS)
    assert lanes == expected
    assert instances * (lanes.threads * QUICK_MIB + lanes.large_threads * lanes.large_mib) <= budget


def test_a_budget_that_holds_no_large_picture_is_refused():
    with pytest.raises(ValueError, match="parameter 'memory_budget_mib' = 100 is below 128, for 2 instances"):
        LaneSettings.from_parameters({"threads": "4", "memory_budget_mib": "100"}, 2, LIMITS)


def test_a_small_budget_refuses_large_pictures_by_its_name():
    limits = LaneSettings(1, 1, 52).within(LIMITS)
    assert (limits.max_decode_mib, limits.memory_parameter) == (52, "memory_budget_mib")
    assert LaneSettings(1, 1, 400).within(LIMITS) is LIMITS


def test_export_gives_the_memory_that_its_threads_need():
    repository = pytest.importorskip("littlebig_export.repository")
    assert (QUICK_MIB, LIMITS.max_decode_mib) == (repository._QUICK_MIB, repository._LARGE_MIB)


def test_a_lane_goes_on_when_an_answer_cannot_be_sent(lanes):
    failing, answers, done = waiting(np.zeros((1, 32, 32, 3), np.uint8), deque([(0, Job(LARGE, settings()))]))
    keep = failing.answer

    def fail(*outcome):
        if outcome:
            keep(outcome[0])
        raise RuntimeError("gone")

    failing.answer = failing.wanted = fail
    for _ in range(2):
        lanes.wait(failing)
        assert done.wait(60)
        done.clear()
        failing.jobs.append((0, Job(LARGE, settings())))
    assert len(answers) == 2
