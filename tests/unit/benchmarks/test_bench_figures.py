"""From rounds to figures, and which figures are refused."""

import numpy as np
import pytest

from littlebig_benchmarks.figures import CONFIDENCE, bound, figure, interval, of_measure, ratio, share_of_bound, spread
from littlebig_benchmarks.scenario import Stability

STABILITY = Stability(spread=0.25, other_load=0.10)


def rounds(*rates, **others):
    return [{"images_per_second": rate, **others} for rate in rates]


def test_bound_is_the_sum_of_both_stages_times():
    assert bound(138, 68, 0.15) == pytest.approx(1 / (1 / 138 + 0.15 / 68))
    assert bound(100, 50, 0.0) == 100


def test_figure_is_a_median_with_its_interval():
    result = of_measure(rounds(100, 110, 104), "images_per_second", STABILITY)
    assert result.text() == "104.0 (100.0 to 110.0)"
    assert figure([0.152, 0.15, 0.151], [], STABILITY).text(1, percent=True) == "15.1% (15.0% to 15.2%)"


def test_ratio_is_taken_within_each_round():
    # The machine became twice as fast: each is unstable, their ratio is not.
    ours, theirs = rounds(100, 200, 150), rounds(80, 160, 120)
    assert ratio(ours, theirs, "images_per_second", STABILITY).text(2) == "1.25 (1.25 to 1.25)"
    assert of_measure(ours, "images_per_second", STABILITY).unstable


@pytest.mark.parametrize(
    ("rounds", "low", "high"), [(1, 1, 1), (4, 1, 4), (5, 1, 5), (7, 1, 7), (8, 2, 7), (20, 6, 15)]
)
def test_more_rounds_leave_more_extremes_out_of_the_interval(rounds, low, high):
    assert interval(list(range(rounds, 0, -1))) == (low, high)


@pytest.mark.parametrize("rounds", [5, 8, 13])
def test_interval_contains_the_true_median_as_often_as_promised(rounds):
    # Skewed, as rounds are that a neighbour slows down; the median is 1.
    drawn = np.random.default_rng(0).lognormal(sigma=1.0, size=(4000, rounds))
    held = [low <= 1.0 <= high for low, high in map(interval, drawn.tolist())]
    assert CONFIDENCE - 0.01 < np.mean(held) < CONFIDENCE + 0.06


def test_one_bad_round_of_many_is_tolerated():
    assert not of_measure(rounds(100, 101, 102, 103, 104, 105, 106, 250), "images_per_second", STABILITY).unstable


def test_rounds_too_far_apart_give_the_reason_instead_of_a_figure():
    result = of_measure(rounds(100, 131, 104), "images_per_second", STABILITY)
    assert result.text() == "unstable: the median of 3 rounds is known to 30% only (at most 25%)"


def test_load_of_other_processes_gives_the_reason_instead_of_a_figure():
    result = of_measure(rounds(100, 101, 102, other_load=0.34), "images_per_second", STABILITY)
    assert result.text() == "unstable: other processes used 34% of the machine (at most 10%)"


def test_each_round_has_the_bound_of_its_own_stages_and_escalation_rate():
    little, big = rounds(100, 50), rounds(50, 25)
    cascade = [{"images_per_second": 50.0, "escalation": 0.5}, {"images_per_second": 25.0, "escalation": 0.5}]
    share, limit = share_of_bound(cascade, little, big, Stability(spread=1.0))
    assert limit.values == pytest.approx((50.0, 25.0))
    assert share.values == pytest.approx((1.0, 1.0))


def test_spread_of_equal_values_is_zero():
    assert spread([0.0, 0.0]) == 0.0
    assert spread([-1.0, 0.0, 1.0]) == float("inf")
