"""Tests and intervals are exact: they equal SciPy's, and the tests' size is summed over all outcomes."""

import numpy as np
import pytest
from scipy import stats

from littlebig_calibration.exact import binomial_cdf, clopper_pearson, loss_upper_limit, paired_p_values


@pytest.mark.parametrize(("hits", "images"), [(0, 10), (10, 10), (3, 17), (780, 1000)])
def test_clopper_pearson_equals_scipys(hits: int, images: int) -> None:
    expected = stats.binomtest(hits, images).proportion_ci(0.9, "exact")
    assert clopper_pearson(hits, images, 0.9) == pytest.approx((expected.low, expected.high))


def test_binomial_cdf_equals_scipys_at_both_ends_too() -> None:
    hits, trials = np.array([0, 0, 3, 20, 7]), np.array([0, 5, 9, 20, 30])
    assert binomial_cdf(hits, trials, 0.5) == pytest.approx(stats.binom.cdf(hits, trials, 0.5))
    assert binomial_cdf(hits, trials, 1.0) == pytest.approx(stats.binom.cdf(hits, trials, 1.0))


def test_p_value_without_tolerance_is_mcnemars_exact_test() -> None:
    value = paired_p_values(np.array([4]), np.array([15]), 500, 0.0, 0.05)[0]
    assert value == pytest.approx(stats.binomtest(4, 19, 0.5, alternative="less").pvalue)


@pytest.mark.parametrize("tolerance", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("level", [0.05, 0.01])
def test_size_never_exceeds_the_level_for_any_rate_of_discordant_images(tolerance: float, level: float) -> None:
    images = 60
    lost, won = (part.ravel() for part in np.meshgrid(np.arange(images + 1), np.arange(images + 1)))
    possible = lost + won <= images
    lost, won = lost[possible], won[possible]
    rejected = paired_p_values(lost, won, images, tolerance, 0.05) <= level
    sizes = []
    for won_rate in np.linspace(0, (1 - tolerance) / 2 - 1e-9, 40):
        lost_rate = won_rate + tolerance
        outcome = np.stack([lost, won, images - lost - won], axis=1)
        chance = stats.multinomial.pmf(outcome, images, [lost_rate, won_rate, 1 - lost_rate - won_rate])
        sizes.append(chance[rejected].sum())
    assert max(sizes) <= level + 1e-9
    # A test that never rejects would pass the line above.
    assert rejected.any()


def test_p_values_fall_as_the_tolerance_grows() -> None:
    values = [paired_p_values(np.array([40]), np.array([38]), 5000, loss, 0.05)[0] for loss in (0, 0.002, 0.005)]
    assert values[0] > values[1] > values[2]


def test_loss_upper_limit_is_the_smallest_certified_tolerance() -> None:
    limit = loss_upper_limit(40, 38, 5000, 0.95)
    at, below = (paired_p_values(np.array([40]), np.array([38]), 5000, loss, 0.05)[0] for loss in (limit, limit - 2e-5))
    assert at <= 0.05 < below
    assert loss_upper_limit(5, 60, 5000, 0.95) == 0.0
