"""Intervals and distributions equal SciPy's, and cover what they say."""

import numpy as np
import pytest
from scipy import stats

from littlebig_calibration.exact import binomial_cdf, clopper_pearson, paired_interval


@pytest.mark.parametrize(("hits", "images"), [(0, 10), (10, 10), (3, 17), (780, 1000)])
def test_clopper_pearson_equals_scipys(hits: int, images: int) -> None:
    expected = stats.binomtest(hits, images).proportion_ci(0.9, "exact")
    assert clopper_pearson(hits, images, 0.9) == pytest.approx((expected.low, expected.high))


def test_binomial_cdf_equals_scipys_at_both_ends_too() -> None:
    hits, trials = np.array([0, 0, 3, 20, 7]), np.array([0, 5, 9, 20, 30])
    assert binomial_cdf(hits, trials, 0.5) == pytest.approx(stats.binom.cdf(hits, trials, 0.5))
    assert binomial_cdf(hits, trials, 1.0) == pytest.approx(stats.binom.cdf(hits, trials, 1.0))


def test_paired_interval_equals_the_formula_and_shrinks_with_the_images() -> None:
    low, high = paired_interval(20, 30, 1000)
    spread = 1.959964 * np.sqrt(51 - 100 / 1002) / 1002
    assert (low, high) == pytest.approx((10 / 1002 - spread, 10 / 1002 + spread), rel=1e-5)
    narrow = paired_interval(200, 300, 10_000)
    assert narrow[1] - narrow[0] < (high - low) / 2
    assert paired_interval(0, 0, 100)[0] < 0 < paired_interval(0, 0, 100)[1]


@pytest.mark.parametrize("rates", [(0.05, 0.05), (0.02, 0.1), (0.001, 0.01)])
def test_paired_interval_covers_the_difference_as_often_as_it_says(rates: tuple[float, float]) -> None:
    lost, won, _ = np.random.default_rng(0).multinomial(500, [*rates, 1 - sum(rates)], 4000).T
    ends = np.array([paired_interval(*counts, 500) for counts in zip(lost.tolist(), won.tolist(), strict=True)])
    covered = np.mean((ends[:, 0] <= rates[1] - rates[0]) & (rates[1] - rates[0] <= ends[:, 1]))
    assert 0.93 <= covered <= 0.99
