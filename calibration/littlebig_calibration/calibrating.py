"""From a table to a calibration with its evidence."""

import dataclasses
import importlib.metadata
from dataclasses import dataclass, field
from datetime import datetime, timezone

import numpy as np

from littlebig_calibration import evidence
from littlebig_calibration.bootstrap import certified_interval, paper_interval
from littlebig_calibration.certifying import SPLIT_SEED, Guarantee, certify
from littlebig_calibration.cost_target import best_within, halves, measured_loss
from littlebig_calibration.curve import cascade_curve, paper_threshold
from littlebig_calibration.errors import PairChoiceError
from littlebig_calibration.figures import accuracy, curve_points, difference, operating_point, proof, tolerances
from littlebig_calibration.label_estimate import images_needed
from littlebig_calibration.notes import notes
from littlebig_calibration.outcomes import outcomes
from littlebig_calibration.table import NO_LABEL, PredictionTable
from littlebig_calibration.tuning import TuningOptions, divide, tune


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
        """Refuse settings outside their ranges."""
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
        table: both models' predictions, and labels: of all images, or of those on which the models differ.
        little: the little model's name in the table.
        big: the big model's.
        settings: rule, guarantee and options.

    Raises:
        PairChoiceError: if no threshold can be chosen from this table.
        TableError: if labels are missing without which nothing can be proved.
    """
    rows = outcomes(table, little, big)
    asked, costs, target = settings.guarantee, settings.costs, settings.max_escalation
    level, rule = asked.confidence_level, settings.rule if target is None else "max-escalation"
    if rule != "certified" and not rows.compared:
        name = "the paper's rule" if rule == "paper" else "a cost target"
        raise PairChoiceError(f"{name} needs a label of every image on which the models differ: use the certified rule")
    division = divide(rows, table.part, settings.tuning) if target is None else halves(rows)
    decision, reason = tune(division, settings.tuning, asked)

    found = certify(division.tuning, division.pools, decision, asked) if rule == "certified" else None
    # Figures are of all images where enough labels are known, else of those that certified.
    shown = rows if rows.compared or found is None else found.pool.rows
    curve = cascade_curve(shown, decision)
    paper = paper_threshold(curve, asked.max_accuracy_loss) if rows.compared else None
    paper_bootstrap = paper_interval(rows, decision, asked) if rows.compared else None
    threshold, interval, guarantee, needed = paper, paper_bootstrap, None, None
    if found is not None:
        threshold, interval = found.threshold, certified_interval(division, decision, asked)
        guarantee = None if threshold is None else asked
        needed = images_needed(curve, asked) if threshold is None else None
    if target is not None:
        threshold, interval = best_within(division.tuning, decision, target, level), None
        guarantee = Guarantee(measured_loss(division.pools[0].rows, decision, threshold, level), level)

    def point(at: float | None, bootstrap: tuple[float, float] | None) -> evidence.OperatingPoint:
        return operating_point(shown, decision, curve, at, bootstrap, costs, level)

    chosen = point(threshold, interval)
    if target is not None:
        # Measured on images that did not choose the threshold: the others would give too high an accuracy.
        half = division.pools[0].rows
        measured = operating_point(half, decision, cascade_curve(half, decision), threshold, None, costs, level)
        chosen = dataclasses.replace(chosen, accuracy=measured.accuracy, difference=measured.difference)
    lost, won = (int(np.count_nonzero(rows.lost == sign)) for sign in (1, -1))
    calibration = evidence.Calibration(
        littlebig_version=importlib.metadata.version("littlebig"),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        data=evidence.DataSet(
            name=table.data_set,
            images=len(rows),
            labelled_images=int(np.count_nonzero(table.labels != NO_LABEL)),
            classes=int(np.unique(table.labels[table.labels >= 0]).size),
            tuning_images=len(division.tuning),
            split_seed=SPLIT_SEED,
            decode=table.decode,
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
        proof=None if found is None else proof(found, asked),
        tolerances=() if found is None else tolerances(division, decision, asked, costs, shown),
        paper=point(paper, paper_bootstrap) if rows.compared else None,
        accuracy_little=accuracy(rows, rows.little_label, level),
        accuracy_big=accuracy(rows, rows.big_label, level),
        difference=difference(lost, won, len(rows), level) if rows.compared else None,
        costs=costs,
        images_needed=needed,
        notes=(),
        curve=curve_points(curve, tuple(value for value in (threshold, paper) if value is not None)),
    )
    return dataclasses.replace(calibration, notes=tuple(notes(calibration, rows, found, settings.guarantee, reason)))
