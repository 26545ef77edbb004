"""Which labels decide, in which order, and that they prove what all labels prove."""

import numpy as np
import pytest

from littlebig_calibration.disagreements import (
    STAGE_SHARES,
    certificate,
    choose_pool,
    deciding,
    labels_needed,
    outcome,
    second_pool,
)
from littlebig_calibration.errors import TableError
from littlebig_calibration.outcomes import Outcomes
from littlebig_calibration.table import NO_CLASS, NO_LABEL, UNCLEAR, PredictionTable
from littlebig_calibration.walk import UNKNOWN, disagreements_between, place_shares, run_walk, walk_thresholds


def parts(table: PredictionTable) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    little, big = table.models
    return little.label, big.label, little.confidence, table.labels


def test_only_disagreements_are_labelled_and_the_most_confident_first(table: PredictionTable) -> None:
    little, big, score, _ = parts(table)
    pool = deciding(little, big, score)
    assert pool.images == 2000
    assert np.array_equal(np.sort(pool.rows), np.flatnonzero(little != big))
    assert np.all(np.diff(pool.enters) <= 0)
    for threshold in (0.9, 0.5, 0.0):
        needed = labels_needed(pool, np.array([threshold]))[0]
        assert needed == np.count_nonzero((little != big) & (score >= np.float32(threshold)))


def test_arbitrated_images_are_labelled_before_all_others(table: PredictionTable) -> None:
    little, big, score, _ = parts(table)
    stands = np.arange(2000) % 10 == 0
    pool = deciding(little, big, score, stands)
    first = np.count_nonzero(stands & (little != big))
    assert np.all(stands[pool.rows[:first]])
    assert labels_needed(pool, np.array([2.0]))[0] == first


def test_outcomes_tell_lost_won_neither_and_missing() -> None:
    little, big = np.array([1, 1, 1, 1, 1]), np.array([2, 2, 2, 2, 2])
    pool = deciding(little, big, np.linspace(1, 0.6, 5).astype(np.float32))
    seen = outcome(pool, little, big, np.array([2, 1, 7, NO_CLASS, NO_LABEL]))
    assert seen.tolist() == [1, -1, 0, 0, UNKNOWN]


def test_class_that_nobody_can_tell_counts_as_lost_where_the_models_differ() -> None:
    confidence = np.full(4, 0.5, dtype=np.float32)
    little, big = np.array([1, 1, 1, 1]), np.array([2, 2, 2, 1])
    rows = Outcomes(little, big, np.array([UNCLEAR, NO_CLASS, NO_LABEL, UNCLEAR]), confidence, confidence)
    assert rows.lost.tolist() == [1, 0, UNKNOWN, 0]
    order = deciding(little, big, confidence)
    assert sorted(outcome(order, little, big, rows.labels).tolist()) == sorted([1, 0, UNKNOWN])


def test_labels_of_disagreements_prove_what_all_labels_prove(table: PredictionTable) -> None:
    little, big, score, labels = parts(table)
    thresholds = walk_thresholds(score[:200])
    shares = place_shares(disagreements_between(score[:200], (little != big)[:200]), 1800, 0.005)
    pool = deciding(little[200:], big[200:], score[200:])
    found = certificate(pool, outcome(pool, little[200:], big[200:], labels[200:]), thresholds, shares, 0.005)
    kept = score[200:] >= thresholds[:, None]
    lost = (kept & (big == labels)[200:] & (little != labels)[200:]).sum(axis=1)
    won = (kept & (big != labels)[200:] & (little == labels)[200:]).sum(axis=1)
    proof = run_walk(lost, won, 1800, 0.005, shares)
    assert proof.place is not None
    assert found.threshold == thresholds[proof.place]
    assert (found.lost, found.won) == (lost[proof.place], won[proof.place])
    assert found.labels_used == labels_needed(pool, thresholds)[proof.last]
    assert not found.labels_ran_out


def test_the_walk_ends_at_a_gap_and_says_so(table: PredictionTable) -> None:
    little, big, score, labels = parts(table)
    thresholds = walk_thresholds(score[:200])
    shares = place_shares(disagreements_between(score[:200], (little != big)[:200]), 2000, 0.02)
    pool = deciding(little, big, score)
    seen = outcome(pool, little, big, labels)
    whole = certificate(pool, seen, thresholds, shares, 0.02)
    gap = whole.labels_used // 2
    seen[gap] = UNKNOWN
    found = certificate(pool, seen, thresholds, shares, 0.02)
    assert found.labels_ran_out
    assert found.labels_used <= gap
    assert found.threshold is not None
    assert whole.threshold is not None
    assert found.threshold > whole.threshold


def test_missing_labels_above_the_first_start_are_refused(table: PredictionTable) -> None:
    little, big, score, labels = parts(table)
    thresholds = walk_thresholds(score[:200])
    shares = place_shares(disagreements_between(score[:200], (little != big)[:200]), 2000, 0.0)
    pool = deciding(little, big, score)
    seen = outcome(pool, little, big, labels)
    seen[1:4] = UNKNOWN
    with pytest.raises(TableError, match=r"^3 labels are missing: the walk starts at threshold 0\.\d+ and needs"):
        certificate(pool, seen, thresholds, shares, 0.0)


def test_a_pool_is_as_large_as_the_budget_lasts_to_the_wanted_escalation(table: PredictionTable) -> None:
    little, big, score, _ = parts(table)
    differ = disagreements_between(score, little != big)
    choice = choose_pool(differ, 1000, 10**6, 0.0)
    assert choice.labels == pytest.approx(1000, rel=0.1)
    assert choice.deepest == pytest.approx(0.1, abs=0.02)
    assert choose_pool(differ, 1000, 10**6, 0.0, reach=0.5).images > choice.images
    assert choose_pool(differ, 1000, 300, 0.0).images == 300


def test_a_budget_too_small_is_refused_with_one_that_would_do(table: PredictionTable) -> None:
    little, big, score, _ = parts(table)
    differ = disagreements_between(score, little != big)
    with pytest.raises(TableError, match=r"^a budget of 10 labels certifies nothing: give at least 50$"):
        choose_pool(differ, 10, 10**6, 0.0)
    assert second_pool(differ, 10, 10**6, 0.0, 0.5) is None
    assert second_pool(differ, 500, 10**6, 0.0, 0.5) is not None


@pytest.mark.slow
@pytest.mark.parametrize(("names", "tolerance", "most"), [
    (("ResNet50", "ViT"), 0.0, 0.17), (("ResNet50", "ViT"), 0.005, 0.13), (("ViT", "ResNet50"), 0.0, 0.13)
])  # fmt: skip
def test_a_budget_of_1_000_labels_keeps_the_promise_and_saves(
    published_table: PredictionTable, names: tuple[str, str], tolerance: float, most: float
) -> None:
    little, big = (published_table.model(name) for name in names)
    draw, draws, images = np.random.default_rng(5), 300, len(published_table.labels)
    loss = (big.label == published_table.labels).astype(int) - (little.label == published_table.labels)
    escalated, broken = [], 0
    for _ in range(draws):
        rows = draw.integers(0, images, 1000)
        thresholds = walk_thresholds(little.confidence[rows])
        differ = disagreements_between(little.confidence[rows], little.label[rows] != big.label[rows])
        choice, left, proved = choose_pool(differ, 1000, 50_000, tolerance), 1000, []
        for share in STAGE_SHARES:
            if choice is None:
                break
            rows = draw.integers(0, images, choice.images)
            pool = deciding(little.label[rows], big.label[rows], little.confidence[rows])
            seen = outcome(pool, little.label[rows], big.label[rows], published_table.labels[rows])
            seen[left:] = UNKNOWN
            found = certificate(pool, seen, thresholds, choice.shares, tolerance, 0.05 * share)
            proved += [] if found.threshold is None else [found.threshold]
            left -= found.labels_used
            choice = None
            if not found.labels_ran_out:
                choice = second_pool(differ, left, 50_000, tolerance, found.stopped_at)
        kept = little.confidence >= np.float32(min(proved, default=2.0))
        escalated.append(1 - kept.mean())
        broken += loss[kept].sum() / images > tolerance + 1e-9
    assert broken / draws <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)
    assert np.median(escalated) <= most
