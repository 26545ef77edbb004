"""The exact paired test: its size summed over all outcomes, its region's shape, its speed."""

import numpy as np
import pytest
from scipy import stats

from littlebig_calibration._arrays import Array
from littlebig_calibration.trinomial import TrinomialTest, loss_upper_limit


def most_lost(test: TrinomialTest, discordant: int, level: float) -> Array:
    """The largest number of lost images that is certified, for 0 to so many discordant ones; -1 where none is."""
    most, lost = np.full(discordant + 1, -1), -1
    for total in range(discordant + 1):
        while lost + 1 <= total and test.certifies(lost + 1, total - lost - 1, level):
            lost += 1
        most[total] = lost
    return most


def size(most: Array, images: int, tolerance: float, rates: Array) -> Array:
    """Probability of the region on the hypothesis' edge, at each discordance rate, from SciPy's distributions."""
    total = np.arange(most.size)
    share = np.minimum(0.5 + tolerance / (2 * np.maximum(rates, 1e-300)), 1.0)[:, None]
    inside = np.where(most >= 0, stats.binom.cdf(np.maximum(most, 0), total, share), 0.0)
    return np.sum(stats.binom.pmf(total, images, rates[:, None]) * inside, axis=1)


@pytest.mark.parametrize("tolerance", [0.0, 0.01])
@pytest.mark.parametrize("level", [0.05, 0.0025])
def test_size_keeps_the_level_for_every_discordance_rate(tolerance: float, level: float) -> None:
    images = 150
    most = most_lost(TrinomialTest(images, tolerance), images, level)
    sizes = size(most, images, tolerance, np.linspace(tolerance, 0.9, 2000))
    assert sizes.max() <= level
    # A test that never rejects would keep any level.
    assert sizes.max() >= 0.8 * level


def test_the_region_grows_when_a_lost_image_becomes_neutral_or_won() -> None:
    for tolerance in (0.0, 0.02):
        steps = np.diff(most_lost(TrinomialTest(200, tolerance), 120, 0.05))
        assert steps.min() >= 0
        assert steps.max() <= 1


def test_p_value_and_decision_agree() -> None:
    test = TrinomialTest(1000, 0.005)
    for lost, won in [(0, 0), (3, 10), (10, 14), (20, 24), (40, 47), (60, 58), (90, 110)]:
        value = test.p_value(lost, won)
        assert not test.certifies(lost, won, value - 2e-3 * value)
        assert test.certifies(lost, won, value + 0.02 * value)


def test_it_certifies_whatever_mcnemars_test_certifies_on_usual_counts() -> None:
    most = most_lost(TrinomialTest(1000, 0.0), 200, 0.05)
    for total in range(20, 201, 20):
        assert most[total] >= stats.binom.ppf(0.05, total, 0.5) - 1


def test_answers_do_not_depend_on_what_was_asked_before() -> None:
    draw = np.random.default_rng(3)
    questions = [
        (int(won) - int(less), int(won))
        for won, less in zip(draw.integers(20, 60, 60), draw.integers(0, 20, 60), strict=True)
    ]
    asked = TrinomialTest(1000, 0.0)
    together = [asked.certifies(lost, won, 0.05) for lost, won in questions]
    assert together == [TrinomialTest(1000, 0.0).certifies(lost, won, 0.05) for lost, won in questions]
    assert len(set(together)) == 2


def test_loss_upper_limit_is_the_smallest_certified_tolerance() -> None:
    limit = loss_upper_limit(40, 38, 5000, 0.95)
    assert TrinomialTest(5000, limit, 0.05).certifies(40, 38, 0.05)
    assert not TrinomialTest(5000, limit - 3e-5, 0.05).certifies(40, 38, 0.05)
    assert loss_upper_limit(5, 60, 5000, 0.95) == 0.0


def test_no_discordant_image_is_proof_only_of_a_tolerance() -> None:
    assert not TrinomialTest(1000, 0.0).certifies(0, 0, 0.05)
    assert not TrinomialTest(1000, 0.002).certifies(0, 0, 0.05)
    assert TrinomialTest(1000, 0.005).certifies(0, 0, 0.05)
    # Never below the probability of just this outcome where the tolerance is lost and nothing won.
    assert (1 - 0.005) ** 1000 < TrinomialTest(1000, 0.005).p_value(0, 0) < 0.05


def test_nothing_is_certified_where_nearly_all_images_are_discordant_or_the_level_is_spent() -> None:
    test = TrinomialTest(200, 0.0)
    assert not test.certifies(0, 200, 0.05)
    assert test.p_value(0, 200) == 1.0
    assert not test.certifies(0, 50, test.nuisance)


@pytest.mark.parametrize(("images", "tolerance", "error"), [(0, 0.0, 0.05), (10, -0.1, 0.05), (10, 0.0, 0.0)])
def test_impossible_tests_are_refused(images: int, tolerance: float, error: float) -> None:
    with pytest.raises(ValueError, match="no test for"):
        TrinomialTest(images, tolerance, error)


@pytest.mark.slow
@pytest.mark.parametrize("images", [100, 500, 1000, 5000])
@pytest.mark.parametrize("tolerance", [0.0, 0.001, 0.005, 0.01, 0.02])
def test_size_on_a_grid_of_images_rates_and_tolerances(images: int, tolerance: float) -> None:
    for level in (0.05, 0.0025):
        most = most_lost(TrinomialTest(images, tolerance), round(0.3 * images), level)
        rates = np.unique(np.concatenate([[tolerance], tolerance + np.geomspace(1e-6, 0.2, 300)]))
        sizes = size(most, images, tolerance, rates)
        print(f"n {images} tolerance {tolerance} level {level}: largest size {sizes.max():.5f}")
        assert sizes.max() <= level
