import math

import littlebig_gate
import numpy as np
import pytest
from littlebig_gate import (
    ARBITRATED,
    BIG_ONLY,
    BY_POLICY,
    DECISIONS,
    LITTLE_ONLY,
    SHED,
    SURE,
    UNSURE,
    escalate,
    little_wins,
    shed,
)
from littlebig_overload import ThresholdScaling
from littlebig_request import Options

from littlebig_contract.scores import LOGIT_CLIP

HALVED = ThresholdScaling(wait_s=0.35, target_s=1.0)


def float32(*values):
    return np.array(values, np.float32).tolist()


def decide(*scores, threshold=0.5):
    return escalate([SURE] * len(scores), float32(*scores), [Options(threshold).threshold] * len(scores))


def test_a_policy_gives_a_row_its_first_decision():
    assert [BY_POLICY[policy] for policy in ("cascade", "little", "big")] == [SURE, LITTLE_ONLY, BIG_ONLY]


def test_a_score_below_the_threshold_is_unsure():
    assert decide(0.2, 0.9, 0.4) == [UNSURE, SURE, UNSURE]


@pytest.mark.parametrize("threshold", [0.5, 0.1, 0.24012674, 0.9])
def test_a_score_equal_to_the_threshold_is_sure(threshold):
    just_below = np.nextafter(np.float32(threshold), np.float32(0.0))
    assert decide(threshold, just_below, threshold=threshold) == [SURE, UNSURE]


def test_threshold_0_escalates_nothing_and_threshold_1_all_but_certain_rows():
    assert decide(0.0, 1.0, threshold=0.0) == [SURE, SURE]
    assert decide(0.999, 1.0, threshold=1.0) == [UNSURE, SURE]


def test_a_nan_score_is_unsure():
    assert decide(math.nan, threshold=0.0) == [UNSURE]


def test_only_rows_that_the_score_decides_change():
    decisions = [SURE, LITTLE_ONLY, BIG_ONLY, ARBITRATED]
    assert escalate(decisions, [0.1] * 4, [0.5] * 4) == [UNSURE, LITTLE_ONLY, BIG_ONLY, ARBITRATED]


def test_each_row_keeps_its_own_threshold():
    assert escalate([SURE, SURE], [0.5, 0.5], [0.1, 0.9]) == [SURE, UNSURE]


def test_a_random_batch_is_decided_as_by_numpy():
    random = np.random.default_rng(0)
    for _ in range(200):
        rows = int(random.integers(1, 33))
        decisions = random.choice([SURE, LITTLE_ONLY, BIG_ONLY], rows)
        scores, thresholds = random.random((2, rows)).astype(np.float32)
        expected = np.where((decisions == SURE) & (scores < thresholds), UNSURE, decisions)
        assert escalate(decisions.tolist(), scores.tolist(), thresholds.tolist()) == expected.tolist()


def test_each_decision_is_a_distinct_stage_and_reason():
    assert len({(who, why) for who, why, _ in DECISIONS}) == len(DECISIONS)
    assert {(who, stage) for who, _, stage in DECISIONS} == {("little", 0), ("big", 1), ("little", 2), ("little", 3)}


def test_rows_that_reach_the_lowered_threshold_are_shed():
    decisions = [UNSURE, UNSURE, SURE, BIG_ONLY]
    assert shed(decisions, [0.3, 0.5, 0.9, 0.99], [0.8] * 4, HALVED) == [UNSURE, SHED, SURE, BIG_ONLY]


def test_scaling_stops_at_the_floor_and_never_raises_a_threshold():
    assert ThresholdScaling(wait_s=0.35, target_s=1.0, floor=0.3).threshold(0.8) == pytest.approx(0.4)
    assert ThresholdScaling(wait_s=0.8, target_s=1.0, floor=0.3).threshold(0.8) == 0.3
    assert ThresholdScaling(wait_s=0.8, target_s=1.0, floor=0.3).threshold(0.2) == 0.2
    assert ThresholdScaling(wait_s=0.1, target_s=1.0, floor=0.3).threshold(0.8) == 0.8


def test_each_row_waits_for_the_less_sure_ones_of_its_batch():
    scaling = ThresholdScaling(
        wait_s=0.2, per_image_s=0.1, target_s=1.0
    )  # factors 1, 2/3, 1/3, 0 for the first, second, ...
    decisions = shed([UNSURE] * 4, [0.85, 0.1, 0.35, 0.05], [0.9, 0.9, 0.6, 0.6], scaling)
    # of their thresholds: 94 %, 11 %, 58 %, 8 %, so they come last, second, third and first
    assert decisions == [SHED, UNSURE, SHED, UNSURE]


@pytest.mark.parametrize(("decision", "score"), [(BIG_ONLY, 0.0), (UNSURE, math.nan)])
def test_rows_that_cannot_be_shed_come_before_those_that_can(decision, score):
    scaling = ThresholdScaling(wait_s=0.2, per_image_s=0.6, target_s=1.0)
    assert shed([UNSURE, decision], [0.1, score], [0.9, 0.9], scaling) == [SHED, decision]


def test_a_nan_score_is_never_shed():
    assert shed([UNSURE], [math.nan], [0.0], ThresholdScaling(wait_s=9.0, target_s=1.0)) == [UNSURE]


def test_negative_scores_of_a_broken_little_are_never_shed():
    assert shed([UNSURE, UNSURE], [-1.0, 0.4], [0.0, 0.5], HALVED) == [UNSURE, SHED]


def test_little_wins_where_it_is_surer_than_big_by_more_than_the_offset():
    assert [little_wins(0.7, big, 0.0) for big in (0.5, 0.7, 0.9)] == [True, False, False]
    assert not little_wins(0.7, 0.5, 0.9)  # logit(0.7) = 0.847
    assert little_wins(0.7, 0.9, -1.4)  # logit(0.9) - logit(0.7) = 1.35


@pytest.mark.parametrize(("little", "big"), [(1.0, 1.0), (math.nan, 0.5), (0.5, math.nan)])
def test_little_does_not_win_with_equal_or_nan_confidences(little, big):
    assert not little_wins(little, big, 0.0)


def test_the_logit_is_clipped_as_in_the_calibration():
    assert littlebig_gate.LOGIT_CLIP == LOGIT_CLIP
