import numpy as np
import pytest
from littlebig_gate import (
    BIG,
    LITTLE,
    Answers,
    Options,
    Question,
    gather,
    little_stands,
    plan_big,
    plan_little,
)
from littlebig_overload import Relief

HALVED = Relief(wait=0.35, target=1.0)


def question(rows, threshold=0.5, policy="cascade"):
    return Question(rows, Options(threshold, policy))


def confidences(*values):
    return np.array(values, np.float32)


def test_little_sees_every_row_but_those_that_want_big_alone():
    questions = [question(2), question(1, policy="big"), question(1, policy="little")]
    assert plan_little(questions).tolist() == [True, True, False, True]


def test_big_sees_the_unsure_rows_of_a_request_and_not_its_sure_ones():
    assert plan_big([question(3)], confidences(0.2, 0.9, 0.4)).escalated.tolist() == [True, False, True]


def test_a_confidence_equal_to_the_threshold_is_sure():
    just_below = np.nextafter(np.float32(0.5), np.float32(0.0))
    assert plan_big([question(2, threshold=0.5)], confidences(0.5, just_below)).escalated.tolist() == [False, True]


def test_threshold_0_never_escalates_and_threshold_1_does_unless_certain():
    assert plan_big([question(2, threshold=0.0)], confidences(0.0, 1.0)).escalated.tolist() == [False, False]
    assert plan_big([question(2, threshold=1.0)], confidences(0.999, 1.0)).escalated.tolist() == [True, False]


def test_a_confidence_that_is_no_number_is_unsure():
    assert plan_big([question(1)], confidences(np.nan)).escalated.tolist() == [True]


def test_each_request_of_a_batch_keeps_its_own_threshold_and_policy():
    questions = [question(1, 0.1), question(1, 0.9), question(1, policy="little"), question(1, policy="big")]
    assert plan_big(questions, confidences(0.5, 0.5, 0.0, 1.0)).escalated.tolist() == [False, True, False, True]


def test_answers_keep_little_where_big_was_not_asked():
    answers = Answers(3)
    answers.write(np.array([True, True, True]), LITTLE, {"label": np.array([[1], [2], [3]], np.int32)})
    answers.write(np.array([False, True, False]), BIG, {"label": np.array([[20]], np.int32)})
    assert answers.tensors["label"].ravel().tolist() == [1, 20, 3]
    assert answers.stage.ravel().tolist() == [LITTLE, BIG, LITTLE]


def test_one_requests_share_of_the_answers_has_its_rows_only():
    answers = Answers(3)
    answers.write(np.ones(3, bool), LITTLE, {"probabilities": np.arange(6, dtype=np.float32).reshape(3, 2)})
    share = answers.part(slice(1, 3))
    assert share["probabilities"].tolist() == [[2, 3], [4, 5]]
    assert share["stage"].shape == (2, 1)


def test_confidence_is_zero_where_nobody_has_answered_yet():
    answers = Answers(2)
    assert answers.score("confidence").tolist() == [0, 0]
    answers.write(np.array([False, True]), LITTLE, {"confidence": confidences(0.7).reshape(1, 1)})
    assert answers.score("confidence") == pytest.approx([0, 0.7])


def test_gather_takes_the_masked_rows_across_requests_in_order():
    images = [np.full((2, 1, 1, 3), 1, np.uint8), np.full((2, 1, 1, 3), 2, np.uint8)]
    images[1][1] = 9
    batch = gather(images, np.array([True, False, False, True]))
    assert batch[:, 0, 0, 0].tolist() == [1, 9]


def test_gather_does_not_copy_a_batch_that_is_one_request():
    images = [np.zeros((2, 4, 4, 3), np.uint8)]
    assert gather(images, np.array([True, True])) is images[0]


def test_a_random_batch_is_answered_as_a_loop_over_its_rows_would():
    random = np.random.default_rng(0)
    for _ in range(200):
        policies = random.choice(["cascade", "little", "big"], size=random.integers(1, 6))
        questions = [question(int(random.integers(1, 5)), float(random.random()), policy) for policy in policies]
        rows = sum(entry.rows for entry in questions)
        confidence = random.random(rows).astype(np.float32)
        expected = [
            policy == "big" or (policy == "cascade" and confidence[row] < np.float32(threshold))
            for row, (policy, threshold) in enumerate(
                (entry.options.policy, entry.options.threshold) for entry in questions for _ in range(entry.rows)
            )
        ]
        assert plan_big(questions, confidence).escalated.tolist() == expected


def test_relief_lowers_each_requests_threshold_and_says_whom_it_spared():
    questions = [question(3, threshold=0.8), question(1, policy="big")]
    plan = plan_big(questions, confidences(0.3, 0.5, 0.9, 0.99), HALVED)
    assert plan.escalated.tolist() == [True, False, False, True]
    assert plan.spared.tolist() == [False, True, False, False]


def test_relief_stops_at_the_floor_and_never_raises_a_threshold():
    assert Relief(wait=0.35, target=1.0, floor=0.3).threshold(0.8) == pytest.approx(0.4)
    assert Relief(wait=0.8, target=1.0, floor=0.3).threshold(0.8) == 0.3
    assert Relief(wait=0.8, target=1.0, floor=0.3).threshold(0.2) == 0.2
    assert Relief(wait=0.1, target=1.0, floor=0.3).threshold(0.8) == 0.8


def test_each_row_waits_for_the_less_sure_ones_of_its_batch():
    relief = Relief(wait=0.2, per_image=0.1, target=1.0)  # factors 1, 2/3, 1/3, 0 for the first, second, ...
    questions = [question(2, threshold=0.9), question(2, threshold=0.6)]
    plan = plan_big(questions, confidences(0.85, 0.1, 0.35, 0.05), relief)
    # of their thresholds: 94 %, 11 %, 58 %, 8 %, so they come last, second, third and first
    assert plan.escalated.tolist() == [False, True, False, True]
    assert plan.spared.tolist() == [True, False, True, False]


def test_who_wants_big_alone_is_before_the_unsure_of_the_batch():
    relief = Relief(wait=0.2, per_image=0.6, target=1.0)
    plan = plan_big([question(1, threshold=0.9), question(1, policy="big")], confidences(0.1, 0.1), relief)
    assert plan.escalated.tolist() == [False, True]


def test_a_score_that_is_no_number_is_escalated_under_any_relief():
    plan = plan_big([question(1)], confidences(np.nan), Relief(wait=9.0, target=1.0))
    assert plan.escalated.tolist() == [True]
    assert plan.spared.tolist() == [False]


def test_little_stands_where_it_is_surer_than_big_by_more_than_the_offset():
    little, big = confidences(0.7, 0.7, 0.7), confidences(0.5, 0.7, 0.9)
    assert little_stands(little, big, 0.0).tolist() == [True, False, False]
    assert little_stands(little, big, 0.9).tolist() == [False, False, False]  # logit(0.7) = 0.847
    assert little_stands(little, big, -1.4).tolist() == [True, True, True]  # logit(0.9) - logit(0.7) = 1.35


def test_a_certain_or_missing_confidence_is_no_exception_to_arbitration():
    assert little_stands(confidences(1.0, np.nan, 0.5), confidences(1.0, 0.5, np.nan), 0.0).tolist() == [False] * 3


def test_gather_uses_the_room_it_is_given_for_a_whole_batch():
    images = [np.full((1, 4, 4, 3), value, np.uint8) for value in (1, 2)]
    room = np.zeros((3, 4, 4, 3), np.uint8)
    batch = gather(images, np.array([True, True]), room)
    assert np.shares_memory(batch, room)
    assert batch[:, 0, 0, 0].tolist() == [1, 2]
    assert not np.shares_memory(gather(images, np.array([True, False]), room), room)
    assert len(gather(images * 2, np.ones(4, bool), room)) == 4
