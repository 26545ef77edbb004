import numpy as np
import pytest
from littlebig_gate import BIG, LITTLE, Answers, Options, Question, gather, plan_big, plan_little


def question(rows, threshold=0.5, policy="cascade"):
    return Question(rows, Options(threshold, policy))


def confidences(*values):
    return np.array(values, np.float32)


def test_little_sees_every_row_but_those_that_want_big_alone():
    questions = [question(2), question(1, policy="big"), question(1, policy="little")]
    assert plan_little(questions).tolist() == [True, True, False, True]


def test_big_sees_the_unsure_rows_of_a_request_and_not_its_sure_ones():
    assert plan_big([question(3)], confidences(0.2, 0.9, 0.4)).tolist() == [True, False, True]


def test_a_confidence_equal_to_the_threshold_is_sure():
    just_below = np.nextafter(np.float32(0.5), np.float32(0.0))
    assert plan_big([question(2, threshold=0.5)], confidences(0.5, just_below)).tolist() == [False, True]


def test_threshold_0_never_escalates_and_threshold_1_does_unless_certain():
    assert plan_big([question(2, threshold=0.0)], confidences(0.0, 1.0)).tolist() == [False, False]
    assert plan_big([question(2, threshold=1.0)], confidences(0.999, 1.0)).tolist() == [True, False]


def test_a_confidence_that_is_no_number_is_unsure():
    assert plan_big([question(1)], confidences(np.nan)).tolist() == [True]


def test_each_request_of_a_batch_keeps_its_own_threshold_and_policy():
    questions = [question(1, 0.1), question(1, 0.9), question(1, policy="little"), question(1, policy="big")]
    assert plan_big(questions, confidences(0.5, 0.5, 0.0, 1.0)).tolist() == [False, True, False, True]


def test_answers_keep_little_where_big_was_not_asked():
    answers = Answers(3)
    answers.write(np.array([True, True, True]), LITTLE, {"label": np.array([[1], [2], [3]], np.int32)})
    answers.write(np.array([False, True, False]), BIG, {"label": np.array([[20]], np.int32)})
    assert answers.tensors["label"].ravel().tolist() == [1, 20, 3]
    assert answers.stage.ravel().tolist() == [LITTLE, BIG, LITTLE]


def test_one_requests_share_of_the_answers_has_its_rows_only():
    answers = Answers(3)
    answers.write(np.ones(3, bool), LITTLE, {"probabilities": np.arange(6, dtype=np.float32).reshape(3, 2)})
    share = answers.part(1, 2)
    assert share["probabilities"].tolist() == [[2, 3], [4, 5]]
    assert share["stage"].shape == (2, 1)


def test_confidence_is_zero_where_nobody_has_answered_yet():
    answers = Answers(2)
    assert answers.confidence().tolist() == [0, 0]
    answers.write(np.array([False, True]), LITTLE, {"confidence": confidences(0.7).reshape(1, 1)})
    assert answers.confidence() == pytest.approx([0, 0.7])


def test_gather_takes_the_masked_rows_across_requests_in_order():
    images = [np.full((2, 1, 1, 3), 1, np.uint8), np.full((2, 1, 1, 3), 2, np.uint8)]
    images[1][1] = 9
    batch = gather(images, np.array([True, False, False, True]))
    assert batch[:, 0, 0, 0].tolist() == [1, 9]


def test_gather_does_not_copy_a_request_that_is_taken_whole():
    images = [np.zeros((2, 4, 4, 3), np.uint8), np.zeros((1, 4, 4, 3), np.uint8)]
    assert gather(images, np.array([True, True, False])) is images[0]


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
        assert plan_big(questions, confidence).tolist() == expected
