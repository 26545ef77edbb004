"""The division of the images, what is chosen before certifying, and what missing labels change."""

from dataclasses import replace

import numpy as np
from calibration_tables import pair_table, rows_of
from scipy import stats

from littlebig_calibration.certifying import Guarantee, Pool, certify, split
from littlebig_calibration.cost_target import escalation_cap
from littlebig_calibration.disagreements import STAGE_SHARES
from littlebig_calibration.outcomes import DecisionRule, Outcomes, discordant_counts, outcomes
from littlebig_calibration.table import NO_CLASS, NO_LABEL, UNCLEAR
from littlebig_calibration.tuning import Division, TuningOptions, divide, tune


def test_discordant_images_are_counted_as_by_hand() -> None:
    rows = outcomes(pair_table(600), "small", "large")
    thresholds = np.array([0.95, 0.8, 0.6, 0.0], dtype=np.float32)
    lost, won = discordant_counts(rows, DecisionRule(), thresholds)
    little, big = rows.little_label == rows.labels, rows.big_label == rows.labels
    for place, threshold in enumerate(thresholds):
        kept = rows.little_confidence >= threshold
        assert lost[place] == np.sum(kept & big & ~little)
        assert won[place] == np.sum(kept & ~big & little)


def test_a_picture_of_no_class_is_neither_lost_nor_won_and_an_unclear_one_counts_as_lost() -> None:
    little, big, labels = np.array([1, 1, 1, 3]), np.array([2, 2, 2, 3]), np.array([NO_CLASS, 1, UNCLEAR, UNCLEAR])
    rows = Outcomes(little, big, labels, *[np.full(4, 0.5, np.float32)] * 2)
    assert rows.lost.tolist() == [0, -1, 1, 0]
    assert rows.compared
    assert not rows.labelled


def test_split_is_repeatable_nested_and_uses_every_image_once() -> None:
    rows = outcomes(pair_table(1000), "small", "large")
    first, second = split(rows, 0.2)
    again, _ = split(rows, 0.05)
    assert (len(first), len(second), len(again)) == (200, 800, 50)
    assert np.array_equal(first.little_confidence[:50], again.little_confidence)
    both = np.sort(np.concatenate([first.little_confidence, second.little_confidence]))
    assert np.array_equal(both, np.sort(rows.little_confidence))


def test_few_images_are_not_spent_on_choosing() -> None:
    both = TuningOptions(("confidence", "margin"), arbitrate=True)
    few, many = (outcomes(pair_table(size), "small", "large") for size in (400, 6000))
    assert len(divide(few, None, both).tuning) == 50
    assert len(divide(many, None, both).tuning) == 1200
    assert len(divide(many, None, TuningOptions()).tuning) == 300


def test_the_parts_that_were_drawn_are_kept_and_each_pool_has_its_share() -> None:
    rows = outcomes(pair_table(1000), "small", "large")
    part = np.repeat([0, 1, 2], [100, 600, 300])
    division = divide(rows, part, TuningOptions())
    assert (len(division.tuning), division.certifying) == (100, 900)
    assert [(len(pool.rows), pool.share) for pool in division.pools] == [(600, 0.85), (300, 0.15)]
    assert divide(rows, np.minimum(part, 1), TuningOptions()).pools[0].share == STAGE_SHARES[0]


def choice(rows: Outcomes, options: TuningOptions, certifying: Outcomes) -> tuple[DecisionRule, str | None]:
    return tune(Division(rows, (Pool(certifying),)), options, Guarantee())


def test_tuning_chooses_the_margin_where_only_it_ranks_images() -> None:
    rows = outcomes(pair_table(4000), "small", "large")
    noise = np.random.default_rng(1).random(len(rows)).astype(np.float32)
    swapped = replace(rows, little_confidence=noise)
    rule, reason = choice(swapped, TuningOptions(("confidence", "margin")), swapped)
    assert rule == DecisionRule("margin")
    assert reason is not None
    assert reason.startswith("margin: gains with probability")
    assert choice(swapped, TuningOptions(), swapped) == (DecisionRule("confidence"), None)


def test_tuning_chooses_an_offset_where_little_may_overrule_big() -> None:
    # Each model is correct with a probability equal to its confidence.
    random = np.random.default_rng(5)
    images = 40_000
    little, big = random.uniform(0.3, 1, images), random.uniform(0.3, 1, images)
    right = random.random(images) < little, random.random(images) < big
    rows = rows_of(*right, little.astype(np.float32), big.astype(np.float32))
    rule, _ = choice(rows, TuningOptions(arbitrate=True), rows)
    assert rule.offset is not None
    assert abs(rule.offset) <= 0.75


def test_tuning_keeps_the_plain_rule_where_arbitration_is_useless() -> None:
    # Little's confidence does not depend on its answers, which are correct less often than big's.
    random = np.random.default_rng(5)
    images = 8000
    noise = random.random(images).astype(np.float32)
    rows = rows_of(random.random(images) < 0.3, random.random(images) < 0.9, noise, np.full(images, 0.9, np.float32))
    rule, reason = choice(rows, TuningOptions(arbitrate=True), rows)
    assert rule.offset is None or rule.offset > 4
    assert reason is not None


def test_tuning_without_labels_keeps_the_plain_rule_and_says_so() -> None:
    rows = outcomes(pair_table(2000), "small", "large")
    blind = replace(rows, labels=np.full(len(rows), NO_LABEL))
    rule, reason = choice(blind, TuningOptions(("margin", "confidence")), rows)
    assert (rule, reason) == (DecisionRule("margin"), "margin: the images that could choose have no labels")


def test_certification_ignores_the_labels_of_tuning_images() -> None:
    rows = outcomes(pair_table(6000), "small", "large")
    tuning, certifying = split(rows, 0.05)
    blind = replace(tuning, labels=np.full(len(tuning), NO_LABEL))
    found = [certify(part, (Pool(certifying),), DecisionRule(), Guarantee()) for part in (tuning, blind)]
    assert found[0].certificate == found[1].certificate
    assert found[0].threshold is not None


def test_the_lowest_threshold_of_two_pools_is_taken_and_their_labels_are_added_up() -> None:
    rows = outcomes(pair_table(12_000), "small", "large")
    tuning, rest = split(rows, 0.05)
    pools = (Pool(rest.take(np.arange(2000)), 0.85), Pool(rest.take(np.arange(2000, len(rest))), 0.15))
    both = certify(tuning, pools, DecisionRule(), Guarantee(0.01))
    each = [certify(tuning, (pool,), DecisionRule(), Guarantee(0.01)) for pool in pools]
    assert both.threshold == min(found.threshold for found in each if found.threshold is not None)
    assert both.labels_used == sum(found.labels_used for found in each)


def test_escalation_cap_is_the_exact_tolerance_limit() -> None:
    score = np.sort(np.random.default_rng(0).random(300)).astype(np.float32)
    cap = escalation_cap(score, 0.2, 0.95)
    rank = int(np.flatnonzero(score == np.float32(cap))[0]) + 1
    assert stats.beta.sf(0.2, rank, 300 - rank + 1) <= 0.05 < stats.beta.sf(0.2, rank + 1, 300 - rank)
    assert escalation_cap(score[:10], 0.05, 0.95) == 0.0
