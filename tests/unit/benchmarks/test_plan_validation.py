"""The simulation beside a server: what is compared with what, and what the verdict says. The server itself is in e2e."""

import itertools

import numpy as np
import pytest
from tests.planning import curve, curves

from littlebig_benchmarks import load
from littlebig_benchmarks.errors import ScenarioError
from littlebig_benchmarks.images import Mix, for_stages_that_do_nothing
from littlebig_benchmarks.planning import asking, report, validating
from littlebig_benchmarks.planning.arrivals import RecordedLoad
from littlebig_benchmarks.planning.simulation import Layout, replay
from littlebig_benchmarks.planning.validating import MEASURES, Beside, Point, Trial, pace, validate
from littlebig_benchmarks.serving import Served

MS = 1e-3
TRIAL = Trial(0.15, seconds=8, rounds=3)
SERVED = Served("nowhere:1", None, None, 0.5, "confidence", (4, 4, 3), ("little_big",), "0")


def point(name, error):
    return Point(name, 0.15, (1.1,), {measure: Beside((10.0 * (1 + error),), (10.0,)) for measure in MEASURES})


def test_the_error_is_the_median_of_the_rounds_own():
    assert Beside((11.0, 30.0, 12.0), (10.0, 20.0, 10.0)).error == pytest.approx(0.2)
    assert Beside((9.0,), (10.0,)).error == pytest.approx(-0.1)


def test_within_the_limit_the_verdict_says_so():
    text = report.validation_as_markdown([point("16 clients", 0.19), point("5 images/s", -0.19)], TRIAL)
    assert text.splitlines()[-1] == "Throughput, mean and p50 are within 20% at every point."
    assert (
        "| 16 clients | 15.0% | x 1.10 (1.10 to 1.10) | p50 ms | 11.9 (11.9 to 11.9) | 10.0 (10.0 to 10.0) | +19.0% |"
        in text.splitlines()
    )
    assert text.splitlines()[2] == (
        "Median (lowest to highest) of 3 rounds of 8 s; the error is taken within each round, then its median."
    )


def test_beyond_the_limit_the_verdict_names_what_missed():
    missed = point("16 clients", 0.0)
    missed.measures["mean ms"] = Beside((7.0,), (10.0,))
    missed.measures["p99 ms"] = Beside((20.0,), (10.0,))  # told in the table, but not held to it
    text = report.validation_as_markdown([missed, point("5 images/s", 0.1)], TRIAL)
    assert text.splitlines()[-1] == "Not within 20%: mean ms at 16 clients."
    assert (
        "| 16 clients | 15.0% | x 1.10 (1.10 to 1.10) | p99 ms | 20.0 (20.0 to 20.0) | 10.0 (10.0 to 10.0) | +100.0% |"
        in text.splitlines()
    )


def test_recorded_requests_are_simulated_when_they_came_and_escalated_as_they_were():
    made = curves(curve(1 * MS), curve(3 * MS))
    unsure = np.array([False, True, False])
    outcome = replay(made, Layout(), RecordedLoad((0.0, 1.0, 2.0)), unsure, np.random.default_rng(0))
    assert outcome.sent.tolist() == [0.0, 1.0, 2.0]
    assert outcome.answered == pytest.approx([0.001, 1.004, 2.001])
    assert outcome.decided == pytest.approx(0.001)  # big's share is none of little's


def test_an_offered_rate_comes_at_random_and_the_same_seed_at_the_same_times():
    def times(seed):
        return np.array(list(load.arrival_times(load.Load("little_big", 1.0, rate=200.0, seed=seed), 50_000)))

    gaps = np.diff(times(1))
    assert times(1)[0] == 0
    assert gaps.mean() == pytest.approx(1 / 200, rel=0.02)
    assert gaps.std() / gaps.mean() == pytest.approx(1, rel=0.02)
    assert (times(1) == times(1)).all()
    assert not (times(1) == times(2)).all()


@pytest.fixture
def pictures():
    return for_stages_that_do_nothing(20, 0.15, SERVED.shape, seed=0)


@pytest.fixture
def slower(monkeypatch):
    """Both stages take half as long again as when they were measured."""
    counted = itertools.count(1)
    monkeypatch.setattr(asking, "lone", lambda served: {"little": 1.5 * MS, "big": 4.5 * MS})
    monkeypatch.setattr(validating, "_gate_counted", lambda url: (next(counted), 0))


def test_the_pace_is_how_long_lone_images_take_beside_the_curves():
    made = curves(curve(1 * MS), curve(3 * MS))
    alone = [{"little": 1 * MS, "big": 3 * MS}, {"little": 2 * MS, "big": 12 * MS}]
    assert pace(made, alone) == pytest.approx((1 + 1 + 2 + 4) / 4)
    slow = made.paced(2.0)
    assert slow.little.curve.seconds(2) == pytest.approx([0, 2 * MS, 2 * MS])
    assert slow.big.curve.seconds(2) == pytest.approx([0, 6 * MS, 6 * MS])
    assert slow.gate == made.gate


@pytest.mark.usefixtures("slower")
def test_a_server_that_does_just_what_was_measured_has_no_error(monkeypatch, pictures):
    """In place of the server, the simulation itself with the images and times that the load would have sent."""
    made = curves(curve(1 * MS, 0.5 * MS), curve(3 * MS, 2 * MS))

    def serve(url, asked, all_of_them, order: Mix):
        images = 4000
        answers = load.Answers(seconds=0.0)
        predicted = validating._simulated(made.paced(1.5), asked, order, images)
        answers.sure_ms = [predicted[1]] * images
        answers.seconds = images / predicted[0]
        answers.stages = {0: 85, 1: 15}
        return answers

    monkeypatch.setattr(load, "run", serve)
    told = []
    clients, *rates = validate(SERVED, made, pictures, TRIAL, told.append)
    reached = clients.measures["images/s"].measured[0]
    assert told == ["warm up", "16 clients", *(one.name for one in rates)]
    assert [one.name for one in rates] == [
        f"{reached * 0.4:.0f} images/s at random (40%)",
        f"{reached * 0.75:.0f} images/s at random (75%)",
    ]
    for one in (clients, *rates):
        assert one.escalation == 0.15
        assert one.pace == pytest.approx((1.5, 1.5, 1.5))
        assert len(one.measures["mean ms"].predicted) == 3
        assert one.measures["images/s"].error == pytest.approx(0)
        assert one.measures["mean ms"].error == pytest.approx(0)


@pytest.mark.usefixtures("slower")
def test_too_few_answers_give_no_figure(monkeypatch, pictures):
    monkeypatch.setattr(load, "run", lambda *_: load.Answers([1.0] * 31, seconds=1.0))
    with pytest.raises(ScenarioError) as refused:
        validate(SERVED, curves(curve(1 * MS), curve(3 * MS)), pictures, TRIAL, lambda line: None)
    assert str(refused.value) == "only 31 answers in 8 s are too few to compare: give more --seconds"
