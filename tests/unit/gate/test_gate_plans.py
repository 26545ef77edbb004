import math

import numpy as np
import pytest
from littlebig_gate import (
    ARBITRATED,
    BIG_ONLY,
    LITTLE_ONLY,
    SPARED,
    SURE,
    UNSURE,
    VERDICTS,
    Answers,
    Options,
    judge,
    little_stands,
    spare,
)
from littlebig_overload import Relief

HALVED = Relief(wait=0.35, target=1.0)


def float32(*values):
    return np.array(values, np.float32).tolist()


def judged(*scores, threshold=0.5):
    return judge([SURE] * len(scores), float32(*scores), [Options(threshold).threshold] * len(scores))


def test_a_policy_decides_before_any_score_does():
    assert [Options(0.5, policy).verdict for policy in ("cascade", "little", "big")] == [SURE, LITTLE_ONLY, BIG_ONLY]


def test_a_score_below_the_threshold_is_unsure():
    assert judged(0.2, 0.9, 0.4) == [UNSURE, SURE, UNSURE]


@pytest.mark.parametrize("threshold", [0.5, 0.1, 0.24012674, 0.9])
def test_a_score_equal_to_the_threshold_is_sure(threshold):
    just_below = np.nextafter(np.float32(threshold), np.float32(0.0))
    assert judged(threshold, just_below, threshold=threshold) == [SURE, UNSURE]


def test_threshold_0_never_escalates_and_threshold_1_does_unless_certain():
    assert judged(0.0, 1.0, threshold=0.0) == [SURE, SURE]
    assert judged(0.999, 1.0, threshold=1.0) == [UNSURE, SURE]


def test_a_score_that_is_no_number_is_unsure():
    assert judged(math.nan, threshold=0.0) == [UNSURE]


def test_only_rows_that_the_score_decides_change():
    verdicts = [SURE, LITTLE_ONLY, BIG_ONLY, ARBITRATED]
    assert judge(verdicts, [0.1] * 4, [0.5] * 4) == [UNSURE, LITTLE_ONLY, BIG_ONLY, ARBITRATED]


def test_each_row_keeps_its_own_threshold():
    assert judge([SURE, SURE], [0.5, 0.5], [0.1, 0.9]) == [SURE, UNSURE]


def test_a_random_batch_is_judged_as_arrays_would_be():
    random = np.random.default_rng(0)
    for _ in range(200):
        rows = int(random.integers(1, 33))
        verdicts = random.choice([SURE, LITTLE_ONLY, BIG_ONLY], rows)
        scores, thresholds = random.random((2, rows)).astype(np.float32)
        expected = np.where((verdicts == SURE) & (scores < thresholds), UNSURE, verdicts)
        assert judge(verdicts.tolist(), scores.tolist(), thresholds.tolist()) == expected.tolist()


def test_every_stage_that_answers_has_a_reason():
    assert len({(who, why) for who, why, _ in VERDICTS}) == len(VERDICTS)
    assert {(who, stage) for who, _, stage in VERDICTS} == {("little", 0), ("big", 1), ("little", 2), ("little", 3)}


def test_relief_spares_rows_that_are_sure_enough_for_a_lowered_threshold():
    verdicts = [UNSURE, UNSURE, SURE, BIG_ONLY]
    assert spare(verdicts, [0.3, 0.5, 0.9, 0.99], [0.8] * 4, HALVED) == [UNSURE, SPARED, SURE, BIG_ONLY]


def test_relief_stops_at_the_floor_and_never_raises_a_threshold():
    assert Relief(wait=0.35, target=1.0, floor=0.3).threshold(0.8) == pytest.approx(0.4)
    assert Relief(wait=0.8, target=1.0, floor=0.3).threshold(0.8) == 0.3
    assert Relief(wait=0.8, target=1.0, floor=0.3).threshold(0.2) == 0.2
    assert Relief(wait=0.1, target=1.0, floor=0.3).threshold(0.8) == 0.8


def test_each_row_waits_for_the_less_sure_ones_of_its_batch():
    relief = Relief(wait=0.2, per_image=0.1, target=1.0)  # factors 1, 2/3, 1/3, 0 for the first, second, ...
    verdicts = spare([UNSURE] * 4, [0.85, 0.1, 0.35, 0.05], [0.9, 0.9, 0.6, 0.6], relief)
    # of their thresholds: 94 %, 11 %, 58 %, 8 %, so they come last, second, third and first
    assert verdicts == [SPARED, UNSURE, SPARED, UNSURE]


@pytest.mark.parametrize(("verdict", "score"), [(BIG_ONLY, 0.0), (UNSURE, math.nan)])
def test_who_cannot_be_spared_comes_before_those_who_can(verdict, score):
    relief = Relief(wait=0.2, per_image=0.6, target=1.0)
    assert spare([UNSURE, verdict], [0.1, score], [0.9, 0.9], relief) == [SPARED, verdict]


def test_a_score_that_is_no_number_is_escalated_under_any_relief():
    assert spare([UNSURE], [math.nan], [0.0], Relief(wait=9.0, target=1.0)) == [UNSURE]


def test_a_broken_little_with_scores_below_zero_does_no_harm():
    assert spare([UNSURE, UNSURE], [-1.0, 0.4], [0.0, 0.5], HALVED) == [UNSURE, SPARED]


def test_little_stands_where_it_is_surer_than_big_by_more_than_the_offset():
    assert [little_stands(0.7, big, 0.0) for big in (0.5, 0.7, 0.9)] == [True, False, False]
    assert not little_stands(0.7, 0.5, 0.9)  # logit(0.7) = 0.847
    assert little_stands(0.7, 0.9, -1.4)  # logit(0.9) - logit(0.7) = 1.35


@pytest.mark.parametrize(("little", "big"), [(1.0, 1.0), (math.nan, 0.5), (0.5, math.nan)])
def test_a_certain_or_missing_confidence_is_no_exception_to_arbitration(little, big):
    assert not little_stands(little, big, 0.0)


def test_answers_keep_little_where_big_was_not_asked():
    answers = Answers(3)
    answers.write([0, 1, 2], {"label": np.array([[1], [2], [3]], np.int32)})
    answers.write([1], {"label": np.array([[20]], np.int32)})
    answers.tell([SURE, UNSURE, SPARED])
    assert answers.tensors["label"].ravel().tolist() == [1, 20, 3]
    assert answers.tensors["stage"].tolist() == [[0], [1], [3]]


def test_answers_that_must_not_be_written_are_copied():
    outputs = np.ones((2, 1), np.float32)
    outputs.flags.writeable = False
    answers = Answers(2)
    answers.write([0, 1], {"confidence": outputs})
    answers.write([1], {"confidence": np.zeros((1, 1), np.float32)})
    assert answers.scores("confidence") == [1.0, 0.0]
    assert outputs.tolist() == [[1.0], [1.0]]


def test_a_score_is_zero_where_nobody_has_answered_yet():
    answers = Answers(2)
    assert answers.scores("confidence") == [0.0, 0.0]
    answers.write([1], {"confidence": np.array([[0.75]], np.float32)})
    assert answers.scores("confidence") == [0.0, 0.75]
