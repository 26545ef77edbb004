"""Arrivals: their rate, how they scatter, and what one of many replicas gets of them."""

import numpy as np
import pytest

from littlebig_benchmarks.planning.arrivals import ClosedLoad, OpenLoad, arrivals
from littlebig_benchmarks.planning.errors import PlanRefused


def gaps(load, count=100_000):
    return np.diff(arrivals(load, count, np.random.default_rng(0)))


def test_random_arrivals_are_a_poisson_process():
    found = gaps(OpenLoad(500))
    assert found.mean() == pytest.approx(1 / 500, rel=0.02)
    assert found.std() / found.mean() == pytest.approx(1, rel=0.02)
    assert np.corrcoef(found[1:], found[:-1])[0, 1] == pytest.approx(0, abs=0.02)


def test_one_of_four_replicas_chosen_at_random_gets_a_quarter_as_random_as_the_whole():
    found = gaps(OpenLoad(500, replicas=4))
    assert found.mean() == pytest.approx(4 / 500, rel=0.02)
    assert found.std() / found.mean() == pytest.approx(1, rel=0.02)


def test_one_of_four_replicas_in_turn_gets_a_quarter_more_evenly():
    found = gaps(OpenLoad(500, replicas=4, balancing="round-robin"))
    assert found.mean() == pytest.approx(4 / 500, rel=0.02)
    assert found.std() / found.mean() == pytest.approx(1 / 2, rel=0.02)  # the sum of four: 1/sqrt(4)


def test_bursts_keep_the_mean_rate_and_scatter_more():
    found = gaps(OpenLoad(500, burst=5.0, burst_seconds=0.2), 400_000)
    assert found.mean() == pytest.approx(1 / 500, rel=0.1)
    assert found.std() / found.mean() > 1.1


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda: OpenLoad(0), "a rate of 0 images/s cannot be planned for: give one above 0"),
        (lambda: OpenLoad(float("nan")), "a rate of nan images/s cannot be planned for: give one above 0"),
        (lambda: OpenLoad(1, replicas=0), "0 replicas cannot serve: give at least 1"),
        (lambda: OpenLoad(1, balancing="none"), "there is no balancing 'none': choose of random, round-robin"),
        (
            lambda: OpenLoad(1, burst=10),
            "bursts of 10 times the mean rate cannot be: they take 10% of the time, so give a factor from 1 to below 10",
        ),
        (lambda: OpenLoad(1, burst_seconds=0), "bursts of 0 seconds cannot be: give a length above 0"),
        (lambda: ClosedLoad(0), "0 clients send nothing: give at least 1"),
    ],
)
def test_loads_that_cannot_be_are_refused(load, message):
    with pytest.raises(PlanRefused) as refused:
        load()
    assert str(refused.value) == message
