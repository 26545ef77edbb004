"""The figures of a calibration: rates, accuracies and differences with their intervals, and the curve."""

import numpy as np

from littlebig_calibration import evidence
from littlebig_calibration._arrays import Array
from littlebig_calibration.certifying import Certified, Guarantee, certify
from littlebig_calibration.curve import Curve, thin
from littlebig_calibration.errors import TableError
from littlebig_calibration.exact import clopper_pearson, paired_interval
from littlebig_calibration.outcomes import DecisionRule, Outcomes, scores
from littlebig_calibration.trinomial import trinomial_test
from littlebig_calibration.tuning import Division

# Tolerances whose certificates are shown beside the one asked for.
SHOWN_TOLERANCES = (0.0, 0.001, 0.005, 0.01, 0.02)


def shortest(threshold: float) -> float:
    """The shortest decimal of the same float32: the gate compares in float32."""
    return float(np.format_float_positional(np.float32(threshold), unique=True))


def accuracy(rows: Outcomes, answers: Array, level: float) -> evidence.Estimate | None:
    """How many answers are right, or None where labels are missing.

    Args:
        rows: the images.
        answers: int [n], classes.
        level: of the interval.
    """
    return _rate(int(np.count_nonzero(answers == rows.labels)), len(rows), level) if rows.labelled else None


def difference(lost: int, won: int, images: int, level: float) -> evidence.Estimate:
    """The paired difference in accuracy, of the one that won minus the one that lost."""
    return evidence.Estimate((won - lost) / images, *paired_interval(lost, won, images, level))


def operating_point(
    rows: Outcomes,
    rule: DecisionRule,
    curve: Curve,
    threshold: float | None,
    bootstrap: tuple[float, float] | None,
    costs: evidence.Costs | None,
    level: float,
) -> evidence.OperatingPoint:
    """What a threshold does on these images.

    Args:
        rows: the images.
        rule: score and offset.
        curve: of these images.
        threshold: None for big only.
        bootstrap: interval of the escalation rate.
        costs: of an image on each model.
        level: of the intervals.
    """
    # Big only: little does not run, so nothing is arbitrated.
    place, images = curve.place(threshold), len(rows)
    lost, won = (0, 0) if threshold is None else (int(curve.lost[place]), int(curve.won[place]))
    big_right = int(np.count_nonzero(rows.big_label == rows.labels))
    rate = 1.0 if threshold is None else float(curve.escalated[place] / images)
    cost = None if costs is None else costs.big if threshold is None else costs.little + rate * costs.big
    kept = scores(rows, rule.score) >= np.float32(np.inf if threshold is None else threshold)
    return evidence.OperatingPoint(
        threshold=None if threshold is None else shortest(threshold),
        escalation_rate=_rate(round(rate * images), images, level),
        accuracy=_rate(big_right - lost + won, images, level) if rows.labelled else None,
        difference=evidence.Estimate(0.0, 0.0, 0.0) if threshold is None else difference(lost, won, images, level),
        escalation_if_repeated=bootstrap,
        disagreement=float(rows.differ[kept].mean()) if kept.any() else None,
        cost=cost,
        cost_reduction=None if cost is None or costs is None else 1 - cost / costs.big,
    )


def proof(found: Certified, guarantee: Guarantee) -> evidence.Proof:
    """What a certificate rests on."""
    certificate, images = found.certificate, len(found.pool.rows)
    p_value = 1.0
    if certificate.threshold is not None:
        test = trinomial_test(images, guarantee.max_accuracy_loss, guarantee.error_rate * found.pool.share)
        p_value = test.p_value(certificate.lost, certificate.won)
    return evidence.Proof(
        images=images,
        disagreements=int(np.count_nonzero(found.pool.rows.differ)),
        labels_used=found.labels_used,
        lost=certificate.lost,
        won=certificate.won,
        p_value=p_value,
        level=round(certificate.level, 12),
    )


def tolerances(
    division: Division, rule: DecisionRule, guarantee: Guarantee, costs: evidence.Costs | None, shown: Outcomes
) -> tuple[evidence.Tolerance, ...]:
    """What the same images certify for usual tolerances and the one asked for; those that lack labels are left out."""
    result = []
    for tolerance in sorted({*SHOWN_TOLERANCES, guarantee.max_accuracy_loss}):
        try:
            found = certify(division.tuning, division.pools, rule, Guarantee(tolerance, guarantee.confidence_level))
        except TableError:
            continue
        threshold, rate = found.threshold, 1.0
        if threshold is not None:
            rate = float(np.mean(scores(shown, rule.score) < np.float32(threshold)))
        saved = None if costs is None else 1 - rate - costs.little / costs.big if threshold is not None else 0.0
        result.append(evidence.Tolerance(tolerance, None if threshold is None else shortest(threshold), rate, saved))
    return tuple(result)


def curve_points(curve: Curve, thresholds: tuple[float, ...]) -> evidence.CurvePoints:
    """The curve thinned to 200 points, those of the given thresholds among them."""
    shown: dict[int, float | None] = {
        place: shortest(curve.thresholds[place]) if np.isfinite(curve.thresholds[place]) else None
        for place in thin(curve, evidence.MAX_POINTS - len(thresholds)).tolist()
    }
    shown |= {curve.place(threshold): shortest(threshold) for threshold in thresholds}
    order = sorted(shown)
    return evidence.CurvePoints(
        threshold=tuple(shown[place] for place in order),
        escalation_rate=tuple((curve.escalated[order] / curve.images).tolist()),
        difference=tuple(((curve.won - curve.lost)[order] / curve.images).tolist()),
    )


def _rate(hits: int, images: int, level: float) -> evidence.Estimate:
    return evidence.Estimate(hits / images, *clopper_pearson(hits, images, level))
