"""From a table to a calibration with its evidence."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from dataclasses import dataclass, field
from datetime import datetime, timezone

import numpy as np

from littlebig_calibration import evidence
from littlebig_calibration._arrays import Array
from littlebig_calibration.bootstrap import certified_interval, paper_interval
from littlebig_calibration.cost_target import SHARE, best_within, measured_loss
from littlebig_calibration.curve import Curve, cascade_curve, paper_threshold, thin
from littlebig_calibration.errors import PairChoiceError
from littlebig_calibration.exact import clopper_pearson
from littlebig_calibration.fixed_sequence import Guarantee
from littlebig_calibration.label_estimate import labels_needed
from littlebig_calibration.outcomes import Outcomes, outcomes, scores
from littlebig_calibration.table import PredictionTable
from littlebig_calibration.tuning import SPLIT_SEED, TuningOptions, split, tune, tune_and_certify


@dataclass(frozen=True)
class CalibrationSettings:
    """What a calibration is asked for.

    Attributes:
        rule: `certified` or `paper`; ignored with a cost target, whose rule is `max-escalation`.
        guarantee: tolerance and confidence level.
        max_escalation: a cost target in (0, 1), or None.
        tuning: what the labels may choose besides the threshold.
        costs: cost of an image on each model, or None.
    """

    rule: str = "certified"
    guarantee: Guarantee = field(default_factory=Guarantee)
    max_escalation: float | None = None
    tuning: TuningOptions = field(default_factory=TuningOptions)
    costs: evidence.Costs | None = None

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges.

        Raises:
            PairChoiceError: naming the setting.
        """
        if not 0 <= self.guarantee.max_accuracy_loss < 1:
            raise PairChoiceError(f"the accuracy loss {self.guarantee.max_accuracy_loss:g} is not in [0, 1)")
        if not 0.5 <= self.guarantee.confidence_level < 1:
            raise PairChoiceError(f"the confidence level {self.guarantee.confidence_level:g} is not in [0.5, 1)")
        if self.max_escalation is not None and not 0 < self.max_escalation < 1:
            raise PairChoiceError(f"the escalation rate {self.max_escalation:g} is not in (0, 1)")
        if self.costs is not None and not (0 < self.costs.little < self.costs.big < np.inf):
            raise PairChoiceError(
                f"costs of {self.costs.little:g} (little) and {self.costs.big:g} (big): "
                "both must be above 0, and little's the lower one"
            )


def calibrate(table: PredictionTable, little: str, big: str, settings: CalibrationSettings) -> evidence.Calibration:
    """Choose the threshold of a pair, with evidence.

    Args:
        table: labels and both models' predictions.
        little: the little model's name in the table.
        big: the big model's.
        settings: rule, guarantee and options.

    Raises:
        PairChoiceError: if no threshold can be chosen from this table.
    """
    rows = outcomes(table, little, big)
    asked, options, target = settings.guarantee, settings.tuning, settings.max_escalation
    level = asked.confidence_level
    rule = settings.rule if target is None else "max-escalation"
    share = options.tuning_share if target is None else SHARE
    tuning, certifying = split(rows, share)
    guarantee, needed, interval = None, None, None
    threshold: float | None
    if target is not None:
        decision, grid = tune(tuning, options, asked, len(certifying), target)
        threshold = best_within(tuning, decision, grid, target, level)
        guarantee = Guarantee(measured_loss(certifying, decision, threshold, level), level)
    else:
        decision, grid, threshold = tune_and_certify(tuning, certifying, options, asked)
    curve = cascade_curve(rows, decision)
    paper = paper_threshold(curve, asked.max_accuracy_loss)
    paper_bootstrap = paper_interval(rows, decision, asked)
    if rule == "paper":
        threshold, interval = paper, paper_bootstrap
    elif rule == "certified":
        interval = certified_interval(tuning, certifying, options, asked)
        if threshold is None:
            needed = labels_needed(certifying, decision, grid, asked, share)
        else:
            guarantee = asked

    score = scores(rows, decision.score)
    differ = table.model(little).label != table.model(big).label

    def point(at: float | None, bootstrap: tuple[float, float] | None) -> evidence.OperatingPoint:
        return _operating_point(curve, at, bootstrap, _disagreement(differ, score, at), settings)

    chosen = point(threshold, interval)
    if target is not None:
        # Measured on the certifying images alone: those that chose the threshold would give too high an accuracy.
        accuracy = cascade_curve(certifying, decision).at(threshold)[1]
        chosen = dataclasses.replace(chosen, accuracy=_estimate(accuracy, len(certifying), level))
    calibration = evidence.Calibration(
        littlebig_version=importlib.metadata.version("littlebig"),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        data=evidence.DataSet(
            name=table.data_set,
            images=len(rows),
            classes=int(np.unique(table.labels).size),
            tuning_images=len(tuning),
            split_seed=SPLIT_SEED,
            sources=table.sources,
        ),
        little=evidence.Model(little, table.model(little).weights_sha256),
        big=evidence.Model(big, table.model(big).weights_sha256),
        rule=rule,
        guarantee=guarantee,
        max_escalation=target,
        score=decision.score,
        answer="big" if decision.offset is None else "arbitrate",
        offset=decision.offset,
        chosen=chosen,
        paper=point(paper, paper_bootstrap),
        accuracy_little=_estimate(float(rows.little_correct.mean()), len(rows), level),
        accuracy_big=_estimate(float(rows.big_correct.mean()), len(rows), level),
        costs=settings.costs,
        labels_needed=needed,
        notes=(),
        curve=_curve_points(curve, (threshold, paper)),
    )
    return dataclasses.replace(calibration, notes=tuple(_notes(calibration, rows, settings)))


def shortest(threshold: float) -> float:
    """The shortest decimal of the same float32: the gate compares in float32."""
    return float(np.format_float_positional(np.float32(threshold), unique=True))


def _estimate(value: float, images: int, confidence_level: float) -> evidence.Estimate:
    return evidence.Estimate(value, *clopper_pearson(round(value * images), images, confidence_level))


def _operating_point(
    curve: Curve,
    threshold: float | None,
    bootstrap: tuple[float, float] | None,
    disagreement: float | None,
    settings: CalibrationSettings,
) -> evidence.OperatingPoint:
    rate, accuracy = curve.at(threshold)
    if threshold is None:
        # Big only: little does not run, so nothing is arbitrated.
        accuracy = curve.big_correct / curve.images
    costs = settings.costs
    cost = None if costs is None else costs.big if threshold is None else costs.little + rate * costs.big
    level = settings.guarantee.confidence_level
    return evidence.OperatingPoint(
        threshold=None if threshold is None else shortest(threshold),
        escalation_rate=_estimate(rate, curve.images, level),
        accuracy=_estimate(accuracy, curve.images, level),
        escalation_if_repeated=bootstrap,
        disagreement=disagreement,
        cost=cost,
        cost_reduction=None if cost is None or costs is None else 1 - cost / costs.big,
    )


def _disagreement(differ: Array, score: Array, threshold: float | None) -> float | None:
    """The fraction of the images left to little on which the labels differ; None where no image is left."""
    kept = score >= np.float32(np.inf if threshold is None else threshold)
    return float(differ[kept].mean()) if kept.any() else None


def _curve_points(curve: Curve, thresholds: tuple[float | None, ...]) -> evidence.CurvePoints:
    """The curve thinned to 200 points, those of the given thresholds among them."""
    thinned = thin(curve, evidence.MAX_POINTS - len(thresholds))
    points = {
        rate: (shortest(value) if np.isfinite(value) else None, accuracy)
        for value, rate, accuracy in zip(
            thinned.thresholds.tolist(),
            (thinned.escalated / curve.images).tolist(),
            (thinned.correct / curve.images).tolist(),
            strict=True,
        )
    }
    for threshold in thresholds:
        if threshold is not None:
            rate, accuracy = curve.at(threshold)
            points[rate] = (shortest(threshold), accuracy)
    rates = sorted(points)
    return evidence.CurvePoints(
        threshold=tuple(points[rate][0] for rate in rates),
        escalation_rate=tuple(rates),
        accuracy=tuple(points[rate][1] for rate in rates),
    )


def _notes(calibration: evidence.Calibration, rows: Outcomes, settings: CalibrationSettings) -> list[str]:
    """What the user should know about a calibration, one sentence each."""
    notes = []
    little, big = int(rows.little_correct.sum()), int(rows.big_correct.sum())
    if little >= big:
        notes.append(
            f"little answers {little:,} of these {len(rows):,} images correctly, big {big:,}: "
            "serve little alone, or check that the two are not swapped"
        )
    distinct = np.unique(scores(rows, calibration.score)).size
    if distinct < len(rows) / 10:
        notes.append(
            f"only {distinct:,} distinct values of the {calibration.score} among {len(rows):,} images: equal scores "
            "are escalated together, so few thresholds differ in effect; predict with unrounded probabilities"
        )
    if settings.tuning.arbitrate and calibration.offset is None:
        notes.append("no offset was better than always taking big's answer: nothing is arbitrated")
    chosen = calibration.chosen
    if calibration.rule == "paper":
        notes.append(
            "the paper's rule guarantees nothing for other images: it loses accuracy on about half of all samples"
        )
    elif calibration.rule == "certified" and chosen.threshold is None:
        remedy = (
            f"probably about {calibration.labels_needed:,} labels are needed (an estimate)"
            if calibration.labels_needed is not None
            else "on these images every threshold lost more than that: allow a larger loss or try another little"
        )
        asked = settings.guarantee
        notes.append(
            f"nothing could be certified for a loss of at most {asked.max_accuracy_loss:.2%} "
            f"at {asked.confidence_level:.0%} confidence, so the answer is big only; {remedy}"
        )
    elif calibration.rule == "certified" and chosen.escalation_if_repeated and chosen.escalation_if_repeated[1] == 1.0:
        notes.append(
            f"{len(rows):,} labels are few for this guarantee: on some other samples of as many images nothing "
            "would be certified"
        )
    return notes
