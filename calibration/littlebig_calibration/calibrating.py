"""From a table to a calibration with its evidence: every rule, side by side."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from dataclasses import dataclass, field
from datetime import datetime, timezone

import numpy as np

from littlebig_calibration import evidence
from littlebig_calibration._arrays import Array
from littlebig_calibration.bootstrap import certified_interval, paper_interval
from littlebig_calibration.certify import Promise
from littlebig_calibration.cost_target import SHARE, best_within, measured_loss
from littlebig_calibration.curve import Curve, cascade_curve, paper_threshold, thin
from littlebig_calibration.errors import PairError
from littlebig_calibration.exact import clopper_pearson
from littlebig_calibration.outcomes import Decision, Outcomes, outcomes, scores
from littlebig_calibration.outlook import labels_needed
from littlebig_calibration.table import PredictionTable
from littlebig_calibration.tuning import SPLIT_SEED, Choices, certify, split, tune


@dataclass(frozen=True)
class Settings:
    """What is asked of a calibration.

    Attributes:
        rule: `certified` or `paper`; with a cost target, it is `max-escalation` whatever is said here.
        promise: tolerance and confidence level.
        max_escalation: a cost target in (0, 1), or None.
        choices: what is left open to the labels.
        costs: cost of an image on each model, or None.
    """

    rule: str = "certified"
    promise: Promise = field(default_factory=Promise)
    max_escalation: float | None = None
    choices: Choices = field(default_factory=Choices)
    costs: evidence.Costs | None = None

    def __post_init__(self) -> None:
        """Refuse settings outside their ranges."""
        if not 0 <= self.promise.max_accuracy_loss < 1:
            raise PairError(f"the accuracy loss {self.promise.max_accuracy_loss:g} is not in [0, 1)")
        if not 0.5 <= self.promise.confidence_level < 1:
            raise PairError(f"the confidence level {self.promise.confidence_level:g} is not in [0.5, 1)")
        if self.max_escalation is not None and not 0 < self.max_escalation < 1:
            raise PairError(f"the escalation rate {self.max_escalation:g} is not in (0, 1)")
        if self.costs is not None and not (0 < self.costs.little < self.costs.big < np.inf):
            raise PairError(
                f"costs of {self.costs.little:g} (little) and {self.costs.big:g} (big): "
                "both must be above 0, and little the cheaper one"
            )


def calibrate(table: PredictionTable, little: str, big: str, settings: Settings) -> evidence.Calibration:
    """Choose the threshold of a pair, with evidence.

    Args:
        table: labels and both models' predictions.
        little: the little model's name in the table.
        big: the big model's.
        settings: rule, promise and options.

    Raises:
        PairError: if no threshold can be chosen from this table.
    """
    rows = outcomes(table, little, big)
    promise, choices = settings.promise, settings.choices
    rule = settings.rule if settings.max_escalation is None else "max-escalation"
    share = SHARE if settings.max_escalation is not None else choices.tuning_share
    tuning, certifying = split(rows, share)
    level = promise.confidence_level
    guarantee, needed, repeated = None, None, None
    threshold: float | None
    if settings.max_escalation is not None:
        decision, grid = tune(tuning, choices, promise, len(certifying), settings.max_escalation)
        threshold = best_within(tuning, decision, grid, settings.max_escalation, level)
        guarantee = evidence.Guarantee(measured_loss(certifying, decision, threshold, level), level)
    else:
        decision, grid, threshold = certify(tuning, certifying, choices, promise)
    curve = cascade_curve(rows, decision)
    differ = table.model(little).label != table.model(big).label
    paper = paper_threshold(curve, promise.max_accuracy_loss)
    paper_repeated = paper_interval(rows, decision, promise)
    if rule == "paper":
        threshold, repeated = paper, paper_repeated
    elif rule == "certified":
        repeated = certified_interval(tuning, certifying, choices, promise)
        if threshold is None:
            needed = labels_needed(certifying, decision, grid, promise, share)
        else:
            guarantee = evidence.Guarantee(promise.max_accuracy_loss, level)

    def point(at: float | None, again: tuple[float, float] | None) -> evidence.OperatingPoint:
        return _operating_point(curve, at, again, _disagreement(differ, scores(rows, decision.gate), at), settings)

    chosen = point(threshold, repeated)
    if settings.max_escalation is not None:
        # The images that chose the threshold would flatter it.
        measured = cascade_curve(certifying, decision).at(threshold)[1]
        accuracy = _estimate(measured, len(certifying), level)
        chosen = dataclasses.replace(chosen, accuracy=accuracy)
    return evidence.Calibration(
        littlebig_version=importlib.metadata.version("littlebig"),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        data=evidence.DataSet(
            name=table.data_set,
            images=len(rows),
            classes=int(np.unique(table.labels).size),
            tuning_images=len(tuning),
            split_seed=SPLIT_SEED,
            sources=tuple(evidence.SourceFile(source.name, source.sha256) for source in table.sources),
        ),
        little=evidence.Model(little, table.model(little).weights_sha256),
        big=evidence.Model(big, table.model(big).weights_sha256),
        rule=rule,
        guarantee=guarantee,
        max_escalation=settings.max_escalation,
        gate=decision.gate,
        answer="big" if decision.offset is None else "arbitrate",
        offset=decision.offset,
        chosen=chosen,
        paper=point(paper, paper_repeated),
        accuracy_little=_estimate(float(rows.little_right.mean()), len(rows), level),
        accuracy_big=_estimate(float(rows.big_right.mean()), len(rows), level),
        costs=settings.costs,
        labels_needed=needed,
        notes=_notes(rows, decision, settings, threshold, needed, repeated),
        curve=_points(curve, (threshold, paper)),
    )


def _estimate(value: float, images: int, confidence_level: float) -> evidence.Estimate:
    return evidence.Estimate(value, *clopper_pearson(round(value * images), images, confidence_level))


def _operating_point(
    curve: Curve,
    threshold: float | None,
    repeated: tuple[float, float] | None,
    disagreement: float | None,
    settings: Settings,
) -> evidence.OperatingPoint:
    rate, accuracy = curve.at(threshold)
    if threshold is None:
        # Big only: nothing is arbitrated, because little does not run.
        accuracy = curve.big_right / curve.images
    costs = settings.costs
    cost = None if costs is None else costs.big if threshold is None else costs.little + rate * costs.big
    level = settings.promise.confidence_level
    return evidence.OperatingPoint(
        threshold=None if threshold is None else shortest(threshold),
        escalation_rate=_estimate(rate, curve.images, level),
        accuracy=_estimate(accuracy, curve.images, level),
        escalation_if_repeated=repeated,
        disagreement=disagreement,
        cost=cost,
        cost_reduction=None if cost is None or costs is None else 1 - cost / costs.big,
    )


def _disagreement(differ: Array, score: Array, threshold: float | None) -> float | None:
    """On what fraction of the images left to little big says otherwise; None where none is left."""
    left = score >= np.float32(np.inf if threshold is None else threshold)
    return float(differ[left].mean()) if left.any() else None


def shortest(threshold: float) -> float:
    """The shortest decimal that is the same float32: the gate compares in float32."""
    return float(np.format_float_positional(np.float32(threshold), unique=True))


def _points(curve: Curve, exact: tuple[float | None, ...]) -> evidence.CurvePoints:
    """The curve thinned to 200 points, the given thresholds among them."""
    thinned = thin(curve, evidence.MAX_POINTS - len(exact))
    points = {
        rate: (shortest(value) if np.isfinite(value) else None, right)
        for value, rate, right in zip(
            thinned.thresholds.tolist(),
            (thinned.escalated / curve.images).tolist(),
            (thinned.right / curve.images).tolist(),
            strict=True,
        )
    }
    for threshold in exact:
        if threshold is not None:
            rate, accuracy = curve.at(threshold)
            points[rate] = (shortest(threshold), accuracy)
    rates = sorted(points)
    return evidence.CurvePoints(
        threshold=tuple(points[rate][0] for rate in rates),
        escalation_rate=tuple(rates),
        accuracy=tuple(points[rate][1] for rate in rates),
    )


def _notes(
    rows: Outcomes,
    decision: Decision,
    settings: Settings,
    threshold: float | None,
    needed: int | None,
    repeated: tuple[float, float] | None,
) -> tuple[str, ...]:
    notes = []
    promise = settings.promise
    little, big = int(rows.little_right.sum()), int(rows.big_right.sum())
    if little >= big:
        notes.append(
            f"little answers {little:,} of these {len(rows):,} images rightly, big {big:,}: "
            "serve little alone, or make sure that the two are not swapped"
        )
    distinct = np.unique(scores(rows, decision.gate)).size
    if distinct < len(rows) / 10:
        notes.append(
            f"only {distinct:,} different {decision.gate} values among {len(rows):,} images: those of equal "
            "value are escalated together, so few thresholds make a difference; predict with unrounded "
            "probabilities"
        )
    if settings.choices.arbitrate and decision.offset is None:
        notes.append("no offset was better than always taking big's answer: nothing is arbitrated")
    if settings.max_escalation is not None:
        return tuple(notes)
    if settings.rule == "paper":
        notes.append("the paper's rule promises nothing about other images: it fails on about every second draw")
    elif threshold is None:
        remedy = (
            f"probably about {needed:,} labels are needed (an estimate)"
            if needed is not None
            else "on these images every threshold lost more than that: allow more or try another little"
        )
        notes.append(
            f"nothing could be certified for a loss of at most {promise.max_accuracy_loss:.2%} "
            f"at {promise.confidence_level:.0%} confidence, so the answer is big only; {remedy}"
        )
    elif repeated is not None and repeated[1] == 1.0:
        notes.append(
            f"{len(rows):,} labels are few for this promise: on some other draws of as many images nothing would have "
            "been certified"
        )
    return tuple(notes)
