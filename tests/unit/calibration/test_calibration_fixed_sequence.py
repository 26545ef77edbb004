"""Fixed-sequence testing, and what is chosen before it."""

import numpy as np
import pytest
from calibration_tables import pair_table
from scipy import stats

from littlebig_calibration.cost_target import escalation_cap
from littlebig_calibration.exact import paired_p_values
from littlebig_calibration.fixed_sequence import Grid, Guarantee, certified_threshold, discordant_counts, threshold_grid
from littlebig_calibration.outcomes import DecisionRule, Outcomes, outcomes
from littlebig_calibration.tuning import TuningOptions, split, tune, tune_and_certify


def test_grid_descends_from_the_safest_to_no_escalation() -> None:
    grid = threshold_grid(np.random.default_rng(0).random(500).astype(np.float32))
    assert np.all(np.diff(grid.thresholds) < 0)
    assert grid.thresholds[0] > 0.98
    assert grid.thresholds[-1] == 0
    assert grid.shares.sum() == pytest.approx(1)


def test_tied_scores_are_tested_once_with_all_their_shares() -> None:
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


def certified(p_values: list[float], shares: list[float]) -> float | None:
    """The certified threshold for made-up counts whose p-values at tolerance 0 are at most the given ones."""
    won = [int(np.ceil(-np.log2(value))) if value < 1 else 0 for value in p_values]
    score = np.concatenate([np.full(count, 1 - index / 100) for index, count in enumerate(np.diff([0, *won]))])
    little = np.ones(score.size, dtype=bool)
    rows = Outcomes(little, ~little, score.astype(np.float32), score.astype(np.float32))
    thresholds = (1 - np.arange(len(won)) / 100 - 0.005).astype(np.float32)
    lost, counted = discordant_counts(rows, DecisionRule(), thresholds)
    assert paired_p_values(lost, counted, 100, 0.0, 0.05) == pytest.approx([0.5**count for count in won])
    return certified_threshold(rows, DecisionRule(), Grid(thresholds, np.array(shares)), Guarantee())


def test_testing_stops_at_a_failure_and_restarts_only_with_a_share_of_its_own() -> None:
    # 0.25 fails whatever the level; 2**-6 passes at 0.05 but not at a tenth of it.
    assert certified([0.25, 2**-6, 2**-7], [1.0, 0.0, 0.0]) is None
    assert certified([0.25, 2**-6, 2**-7], [0.1, 0.9, 0.0]) == pytest.approx(0.975)
    assert certified([0.25, 2**-6, 2**-7], [0.9, 0.1, 0.0]) is None


def test_a_start_that_succeeds_passes_its_share_on() -> None:
    assert certified([2**-6, 2**-6, 2**-6], [0.5, 0.0, 0.5]) == pytest.approx(0.975)


def test_split_is_repeatable_and_uses_every_image_once() -> None:
    rows = outcomes(pair_table(1000), "small", "large")
    first, second = split(rows, 0.2)
    again, _ = split(rows, 0.2)
    assert (len(first), len(second)) == (200, 800)
    assert np.array_equal(first.little_confidence, again.little_confidence)
    both = np.sort(np.concatenate([first.little_confidence, second.little_confidence]))
    assert np.array_equal(both, np.sort(rows.little_confidence))


def test_tuning_chooses_the_margin_where_only_it_ranks_images() -> None:
    rows = outcomes(pair_table(4000), "small", "large")
    noise = np.random.default_rng(1).random(len(rows)).astype(np.float32)
    swapped = Outcomes(rows.little_correct, rows.big_correct, noise, rows.big_confidence, rows.little_margin)
    rule, _ = tune(swapped, TuningOptions(("confidence", "margin")), Guarantee(), 16_000)
    assert rule == DecisionRule("margin")
    rule, _ = tune(rows, TuningOptions(("confidence",)), Guarantee(), 16_000)
    assert rule == DecisionRule("confidence")


def test_tuning_chooses_an_offset_where_little_may_overrule_big() -> None:
    # Each model is correct with a probability equal to its confidence.
    random = np.random.default_rng(5)
    images = 8000
    little, big = random.uniform(0.3, 1, images), random.uniform(0.3, 1, images)
    rows = Outcomes(
        random.random(images) < little,
        random.random(images) < big,
        little.astype(np.float32),
        big.astype(np.float32),
    )
    rule, _ = tune(rows, TuningOptions(arbitrate=True), Guarantee(), 30_000)
    assert rule.offset is not None
    assert abs(rule.offset) <= 0.75


def test_tuning_leaves_out_a_useless_arbitration() -> None:
    # Little's confidence does not depend on its answers, which are correct less often than big's.
    random = np.random.default_rng(5)
    images = 8000
    noise = random.random(images).astype(np.float32)
    rows = Outcomes(random.random(images) < 0.3, random.random(images) < 0.9, noise, np.full(images, 0.9, np.float32))
    rule, _ = tune(rows, TuningOptions(arbitrate=True), Guarantee(), 30_000)
    assert rule.offset is None or rule.offset > 4


def test_certification_ignores_the_labels_of_tuning_images() -> None:
    rows = outcomes(pair_table(6000), "small", "large")
    tuning, certifying = split(rows, 0.05)
    flipped = Outcomes(~tuning.little_correct, ~tuning.big_correct, tuning.little_confidence, tuning.big_confidence)
    thresholds = [tune_and_certify(part, certifying, TuningOptions(), Guarantee())[2] for part in (tuning, flipped)]
    assert thresholds[0] == thresholds[1]


def test_escalation_cap_is_the_exact_tolerance_limit() -> None:
    score = np.sort(np.random.default_rng(0).random(300)).astype(np.float32)
    cap = escalation_cap(score, 0.2, 0.95)
    rank = int(np.flatnonzero(score == np.float32(cap))[0]) + 1
    assert stats.beta.sf(0.2, rank, 300 - rank + 1) <= 0.05 < stats.beta.sf(0.2, rank + 1, 300 - rank)
    assert escalation_cap(score[:10], 0.05, 0.95) == 0.0
