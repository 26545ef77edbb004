"""The curve is exact: every point equals that of a cascade run image by image."""

from dataclasses import replace

import numpy as np
import pytest
from calibration_tables import pair_table, rows_of

from littlebig_calibration.curve import Curve, cascade_curve, paper_threshold, thin
from littlebig_calibration.outcomes import DecisionRule, Outcomes, outcomes
from littlebig_calibration.table import NO_LABEL


def by_hand(rows: Outcomes, threshold: float, offset: float | None = None) -> tuple[float, float]:
    """Escalation rate and accuracy against big's."""
    right, big_right = rows.little_label == rows.labels, rows.big_label == rows.labels
    correct = 0
    escalated = 0
    for index in range(len(rows)):
        if rows.little_confidence[index] >= threshold:
            correct += bool(right[index])
            continue
        escalated += 1
        little, big = float(rows.little_confidence[index]), float(rows.big_confidence[index])
        difference = np.log(little / (1 - little)) - np.log(big / (1 - big))
        stands = offset is not None and difference > offset
        correct += bool(right[index] if stands else big_right[index])
    return escalated / len(rows), (correct - int(big_right.sum())) / len(rows)


def at(curve: Curve, threshold: float | None) -> tuple[float, float]:
    place = curve.place(threshold)
    return curve.escalated[place] / curve.images, (curve.won - curve.lost)[place] / curve.images


def rows_with_ties(images: int = 400) -> Outcomes:
    rows = outcomes(pair_table(images, seed=3, skill=(1.2, 1.25)), "small", "large")
    coarse = (np.round(rows.little_confidence * 20) / 20).clip(0.05, 0.95).astype(np.float32)
    return replace(rows, little_confidence=coarse, big_confidence=rows.big_confidence.clip(0.01, 0.99))


@pytest.mark.parametrize("offset", [None, 0.5])
def test_every_point_equals_a_cascade_run_image_by_image(offset: float | None) -> None:
    rows = rows_with_ties()
    curve = cascade_curve(rows, DecisionRule(offset=offset))
    assert len(curve.thresholds) == np.unique(rows.little_confidence).size + 1
    for threshold in [*curve.thresholds[:-1], 0.0, 0.61, 1.0]:
        assert at(curve, threshold) == pytest.approx(by_hand(rows, threshold, offset))
    assert at(curve, None) == pytest.approx(by_hand(rows, np.inf, offset))


def test_papers_rule_chooses_the_smallest_threshold_without_loss() -> None:
    rows = rows_with_ties()
    curve = cascade_curve(rows, DecisionRule())
    good = [value for value in np.unique(rows.little_confidence) if by_hand(rows, value)[1] >= 0]
    assert paper_threshold(curve) == pytest.approx(min(good))
    looser = paper_threshold(curve, 0.02)
    assert looser is not None
    assert looser < min(good)


def test_tolerance_is_counted_in_whole_images() -> None:
    # 1 image of 1,000 is lost: 0.1 % allows it, though 0.999 is not a binary fraction.
    right = np.ones(1000, dtype=bool)
    little = right.copy()
    little[0] = False
    confidence = np.linspace(0.2, 0.9, 1000, dtype=np.float32)
    rows = rows_of(little, right, confidence)
    assert paper_threshold(cascade_curve(rows, DecisionRule()), 0.001) == 0.0
    assert paper_threshold(cascade_curve(rows, DecisionRule()), 0.0009) == pytest.approx(float(confidence[1]))


def test_there_is_no_threshold_where_the_most_confident_answer_is_wrong() -> None:
    right = np.ones(200, dtype=bool)
    little = right.copy()
    little[-1] = False  # the most confident answer is the wrong one
    confidence = np.linspace(0.2, 1.0, 200, dtype=np.float32)
    assert paper_threshold(cascade_curve(rows_of(little, right, confidence), DecisionRule())) is None


def test_thinning_keeps_both_ends_and_only_points_of_the_curve() -> None:
    curve = cascade_curve(outcomes(pair_table(3000), "small", "large"), DecisionRule())
    kept = thin(curve, 100)
    assert kept.size <= 100
    assert (curve.escalated[kept[0]], curve.escalated[kept[-1]]) == (0, 3000)
    assert np.all(np.diff(kept) > 0)


def test_the_curve_ends_above_the_first_image_without_a_label() -> None:
    rows = outcomes(pair_table(500), "small", "large")
    whole = cascade_curve(rows, DecisionRule())
    labels = rows.labels.copy()
    gap = np.flatnonzero(rows.differ)[3]
    labels[gap] = NO_LABEL
    curve = cascade_curve(replace(rows, labels=labels), DecisionRule())
    assert curve.thresholds[0] > rows.little_confidence[gap]
    assert curve.thresholds.size < whole.thresholds.size
    for threshold in curve.thresholds[:-1]:
        assert at(curve, threshold) == at(whole, threshold)
