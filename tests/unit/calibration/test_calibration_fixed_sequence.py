"""The walk down the grid, and what is chosen before it."""

import numpy as np
import pytest
from calibration_tables import pair_table
from scipy import stats

from littlebig_calibration.fixed_sequence import Grid, Guarantee, certified_threshold, discordant_counts, threshold_grid
from littlebig_calibration.cost_target import escalation_cap
from littlebig_calibration.exact import paired_p_values
from littlebig_calibration.outcomes import DecisionRule, Outcomes, outcomes
from littlebig_calibration.tuning import TuningOptions, split, tune, tune_and_certify  # split, tune


def test_grid_descends_from_the_safest_to_no_escalation() -> None:
    grid = threshold_grid(np.random.default_rng(0).random(500).astype(np.float32))
    assert np.all(np.diff(grid.thresholds) < 0)
    assert grid.thresholds[0] > 0.98
    assert grid.thresholds[-1] == 0
    assert grid.shares.sum() == pytest.approx(1)


def test_tied_scores_are_tried_once_and_no_share_is_lost() -> None:
    grid = threshold_grid(np.repeat(np.array([0.25, 0.5, 1.0], dtype=np.float32), 100))
    assert grid.thresholds[0] == 1.0
    assert np.unique(grid.thresholds).size == grid.thresholds.size <= 8
    assert grid.shares.sum() == pytest.approx(1)


def test_discordant_images_are_counted_as_by_hand() -> None:
    rows = outcomes(pair_table(600), "small", "large")
    thresholds = np.array([0.95, 0.8, 0.6, 0.0], dtype=np.float32)
    lost, won = discordant_counts(rows, DecisionRule(), thresholds)
    for place, threshold in enumerate(thresholds):
        kept = rows.little_confidence >= threshold
        assert lost[place] == np.sum(kept & rows.big_correct & ~rows.little_correct)
        assert won[place] == np.sum(kept & ~rows.big_correct & rows.little_correct)


def walk(p_values: list[float], shares: list[float]) -> float | None:
    """The walk over made-up counts whose p-values at tolerance 0 are at or below the given ones."""
    won = [int(np.ceil(-np.log2(value))) if value < 1 else 0 for value in p_values]
    score = np.concatenate([np.full(count, 1 - index / 100) for index, count in enumerate(np.diff([0, *won]))])
    little = np.ones(score.size, dtype=bool)
    rows = Outcomes(little, ~little, score.astype(np.float32), score.astype(np.float32))
    thresholds = (1 - np.arange(len(won)) / 100 - 0.005).astype(np.float32)
    lost, counted = discordant_counts(rows, DecisionRule(), thresholds)
    assert paired_p_values(lost, counted, 100, 0.0, 0.05) == pytest.approx([0.5**count for count in won])
    return certified_threshold(rows, DecisionRule(), Grid(thresholds, np.array(shares)), Guarantee())


def test_the_walk_stops_at_the_first_failure_and_starts_again_only_with_a_share_of_its_own() -> None:
    # 0.25 fails whatever the level; 2**-6 passes at 0.05 but not at a tenth of it.
    assert walk([0.25, 2**-6, 2**-7], [1.0, 0.0, 0.0]) is None
    assert walk([0.25, 2**-6, 2**-7], [0.1, 0.9, 0.0]) == pytest.approx(0.975)
    assert walk([0.25, 2**-6, 2**-7], [0.9, 0.1, 0.0]) is None


def test_a_start_that_succeeds_hands_its_share_on() -> None:
    assert walk([2**-6, 2**-6, 2**-6], [0.5, 0.0, 0.5]) == pytest.approx(0.975)


def test_the_split_is_repeatable_and_takes_every_image_once() -> None:
    rows = outcomes(pair_table(1000), "small", "large")
    first, second = split(rows, 0.2)
    again, _ = split(rows, 0.2)
    assert (len(first), len(second)) == (200, 800)
    assert np.array_equal(first.little_confidence, again.little_confidence)
    both = np.sort(np.concatenate([first.little_confidence, second.little_confidence]))
    assert np.array_equal(both, np.sort(rows.little_confidence))


def test_tuning_takes_the_margin_where_it_orders_images_and_confidence_does_not() -> None:
    rows = outcomes(pair_table(4000), "small", "large")
    noise = np.random.default_rng(1).random(len(rows)).astype(np.float32)
    swapped = Outcomes(rows.little_correct, rows.big_correct, noise, rows.big_confidence, rows.little_margin)
    decision, _ = tune(swapped, TuningOptions(("confidence", "margin")), Guarantee(), 16_000)
    assert decision == DecisionRule("margin")
    decision, _ = tune(rows, TuningOptions(("confidence",)), Guarantee(), 16_000)
    assert decision == DecisionRule("confidence")


def test_tuning_finds_the_offset_where_little_may_overrule_big() -> None:
    # Big is right wherever it is sure, and a coin where it is not; little is right where it is sure.
    draw = np.random.default_rng(5)
    images = 8000
    little, big = draw.uniform(0.3, 1, images), draw.uniform(0.3, 1, images)
    rows = Outcomes(
        draw.random(images) < little,
        draw.random(images) < big,
        little.astype(np.float32),
        big.astype(np.float32),
    )
    decision, _ = tune(rows, TuningOptions(arbitrate=True), Guarantee(), 30_000)
    assert decision.offset is not None
    assert abs(decision.offset) <= 0.75


def test_a_useless_arbitration_is_left_out() -> None:
    # Little's confidence says nothing about being right, and little is right less often than big.
    draw = np.random.default_rng(5)
    images = 8000
    noise = draw.random(images).astype(np.float32)
    rows = Outcomes(draw.random(images) < 0.3, draw.random(images) < 0.9, noise, np.full(images, 0.9, np.float32))
    decision, _ = tune(rows, TuningOptions(arbitrate=True), Guarantee(), 30_000)
    assert decision.offset is None or decision.offset > 4


def test_certification_ignores_what_is_on_the_tuning_images() -> None:
    rows = outcomes(pair_table(6000), "small", "large")
    tuning, certifying = split(rows, 0.05)
    flipped = Outcomes(~tuning.little_correct, ~tuning.big_correct, tuning.little_confidence, tuning.big_confidence)
    assert tune_and_certify(tuning, certifying, TuningOptions(), Guarantee())[2] == tune_and_certify(flipped, certifying, TuningOptions(), Guarantee())[2]


def test_escalation_cap_is_the_exact_tolerance_limit() -> None:
    score = np.sort(np.random.default_rng(0).random(300)).astype(np.float32)
    cap = escalation_cap(score, 0.2, 0.95)
    rank = int(np.flatnonzero(score == np.float32(cap))[0]) + 1
    assert stats.beta.sf(0.2, rank, 300 - rank + 1) <= 0.05 < stats.beta.sf(0.2, rank + 1, 300 - rank)
    assert escalation_cap(score[:10], 0.05, 0.95) == 0.0
