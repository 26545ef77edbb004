"""The number of pods over a ramp, a burst and a night, as docs/kubernetes.md states it."""

from __future__ import annotations

import re

import pytest

from tests.unit.chart.autoscaler import SYNC, desired, replay
from tests.unit.chart.helm import ROOT, find, render

MINUTE = 60 // SYNC
DOC = ROOT / "docs" / "kubernetes.md"


@pytest.fixture(scope="module")
def spec():
    return find(render({"autoscaling": {"kind": "hpa"}}), "HorizontalPodAutoscaler")["spec"]


def waiting(little=0.0, big=0.0, gate=0.0):
    return {"little": little, "big": big, "little_big": gate}


def load(*parts: tuple[float, float]) -> list[dict[str, float]]:
    """A sequence of (minutes, requests waiting in the gates of all pods)."""
    return [waiting(gate=count) for minutes, count in parts for _ in range(round(minutes * MINUTE))]


SCENARIOS = {
    "ramp": load(*((2, 16 * pods) for pods in range(2, 9)), (1, 128)),
    "burst": load((5, 0), (1, 200), (14, 0)),
    "night": load((2, 128), (28, 0)),
}
STARTS = {"ramp": 2, "burst": 2, "night": 8}


def per_minute(spec, name: str) -> list[int]:
    return replay(spec, STARTS[name], SCENARIOS[name])[MINUTE - 1 :: MINUTE]


@pytest.mark.parametrize(
    ("pods", "mean", "wanted"),
    [(4, 16, 4), (4, 17.5, 4), (4, 14.5, 4), (4, 17.7, 5), (4, 24, 6), (4, 32, 8), (4, 8, 2), (3, 1, 1)],
)
def test_the_formula_leaves_pods_unchanged_within_its_tolerance(pods, mean, wanted):
    assert desired(pods, {"gate": mean}, {"gate": 16}) == wanted


def test_the_model_that_needs_the_most_pods_decides():
    targets = {"little": 4, "big": 4, "gate": 16}
    assert desired(2, {"little": 0, "big": 12, "gate": 0}, targets) == 6
    assert desired(2, {"little": 8, "big": 0, "gate": 0}, targets) == 4


def test_the_documented_numbers_of_pods_are_reached(spec):
    documented = {
        name: [int(number) for number in numbers.split()]
        for name, numbers in re.findall(r"^\| (ramp|burst|night) \|.*\| ([\d ]+) \|$", DOC.read_text(), re.MULTILINE)
    }
    assert documented == {name: per_minute(spec, name) for name in SCENARIOS}


def test_a_burst_doubles_the_pods_at_once_and_they_return_within_minutes(spec):
    pods = replay(spec, 2, SCENARIOS["burst"])
    assert pods[5 * MINUTE] == 4, "twofold, or two more, at the first sync"
    assert pods[-1] == 2
    assert max(pods) <= 8


def test_no_pod_is_removed_while_the_last_five_minutes_needed_it(spec):
    pods = replay(spec, 8, load((1, 128), (4, 0)))
    assert set(pods) == {8}


def test_a_swinging_load_does_not_swing_the_pods(spec):
    swinging = load(*((1, count) for _ in range(10) for count in (64, 0)))
    pods = replay(spec, 4, swinging)
    assert min(pods) == 4


def test_the_number_of_pods_stays_within_its_limits(spec):
    assert max(replay(spec, 2, load((10, 10_000)))) == spec["maxReplicas"]
    assert min(replay(spec, 8, load((60, 0)))) == spec["minReplicas"]
