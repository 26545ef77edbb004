"""Where walks start, how shares move along them, and that they keep the promise for any loss curve."""

import numpy as np
import pytest

from littlebig_calibration.walk import WALK_RATES, disagreements_between, place_shares, run_walk, walk_thresholds


def shares_at(**places: float) -> np.ndarray:
    shares = np.zeros(WALK_RATES.size)
    for place, share in places.items():
        shares[int(place[1:])] = share
    return shares


def test_thresholds_descend_to_zero_and_ties_are_harmless() -> None:
    thresholds = walk_thresholds(np.repeat(np.array([0.25, 0.5, 1.0], dtype=np.float32), 100))
    assert thresholds.dtype == np.float32
    assert np.all(np.diff(thresholds) <= 0)
    assert (thresholds[0], thresholds[-1]) == (1.0, 0.0)


def test_disagreements_are_counted_as_by_hand() -> None:
    draw = np.random.default_rng(0)
    score, differ = draw.random(50_000).astype(np.float32), draw.random(50_000) < 0.3
    kept = np.cumsum(disagreements_between(score, differ)) * 50_000
    for place in (50, 150, 199):
        counted = np.count_nonzero(differ & (score >= walk_thresholds(score)[place]))
        assert kept[place] == pytest.approx(counted, rel=0.01)


def test_disagreements_of_few_images_are_smoothed_and_their_rate_is_kept() -> None:
    score = np.linspace(0, 1, 50).astype(np.float32)
    differ = score < 0.2
    between = disagreements_between(score, differ)
    assert between.sum() == pytest.approx(differ.mean())
    assert 0 < between[:100].sum() < 0.05


def test_the_start_moves_up_with_more_images_and_shares_sum_to_1() -> None:
    differ = np.full(WALK_RATES.size, 0.2 / WALK_RATES.size)
    starts = []
    for images in (500, 2_000, 10_000, 50_000):
        shares = place_shares(differ, images, 0.0)
        assert shares.sum() == pytest.approx(1)
        starts.append(WALK_RATES[np.flatnonzero(shares)[0]])
    assert starts == sorted(starts)
    assert starts[0] < starts[-1]


def test_the_walk_starts_at_the_top_where_no_discordant_image_is_proof() -> None:
    differ = np.full(WALK_RATES.size, 1e-4)
    assert place_shares(differ, 1000, 0.005)[0] == pytest.approx(0.7)
    assert place_shares(differ, 10_000, 0.005)[0] == pytest.approx(1)


def test_models_that_never_differ_start_at_the_end() -> None:
    assert place_shares(np.zeros(WALK_RATES.size), 1000, 0.0)[-1] == 1.0


def test_the_walk_stops_at_the_first_failure_and_resumes_at_a_start() -> None:
    won = np.array([20, 20, 20, 30, 30])
    lost = np.array([0, 0, 20, 0, 20])
    assert run_walk(lost, won, 1000, 0.0, shares_at(p0=1.0)).place == 1
    assert run_walk(lost, won, 1000, 0.0, shares_at(p0=0.5, p3=0.5)).place == 3
    assert run_walk(lost, won, 1000, 0.0, shares_at(p2=1.0)).place is None


def test_a_start_that_passes_hands_its_share_on() -> None:
    proof = run_walk(np.array([0, 0]), np.array([20, 30]), 1000, 0.0, shares_at(p0=0.5, p1=0.5))
    assert (proof.place, proof.last) == (1, 1)
    assert proof.level == pytest.approx(0.05)


def test_thresholds_before_the_first_start_are_not_tested() -> None:
    proof = run_walk(np.zeros(3, int), np.array([20, 20, 20]), 1000, 0.0, shares_at(p5=1.0))
    assert (proof.place, proof.last) == (None, -1)


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["edge everywhere", "bad in the middle", "bad at two places"])
@pytest.mark.parametrize("tolerance", [0.0, 0.005])
def test_the_error_probability_holds_for_any_loss_curve(shape: str, tolerance: float) -> None:
    # Lost and won images come between thresholds; where the loss is at or above the tolerance, passing is wrong.
    draw, images, draws = np.random.default_rng(1), 1000, 3000
    steps = np.full(WALK_RATES.size, 0.0005)
    tilt = np.zeros(WALK_RATES.size)
    tilt[0] = tolerance
    if shape != "edge everywhere":
        tilt[:40], tilt[40:80] = -0.0002, 0.00025
        tilt[0] += tolerance
    if shape == "bad at two places":
        tilt[80:120], tilt[120:] = -0.0003, 0.0002
    a, b = np.maximum(steps + tilt / 2, 0), np.maximum(steps - tilt / 2, 0)
    b[0], a[0] = 0.0005, 0.0005 + max(tilt[0], 0)
    wrong = np.cumsum(a - b) >= tolerance - 1e-12
    assert wrong.any()
    shares = place_shares(a + b, images, tolerance)
    broken = 0
    for counts in draw.multinomial(images, [*a, *b, 1 - a.sum() - b.sum()], draws):
        lost, won = counts[:200].cumsum(), counts[200:400].cumsum()
        place = run_walk(lost, won, images, tolerance, shares).place
        broken += place is not None and wrong[place]
    print(f"{shape}, tolerance {tolerance}: {broken / draws:.2%}")
    assert broken / draws <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)
