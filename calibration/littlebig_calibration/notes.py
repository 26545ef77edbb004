"""What the user should know about a calibration, one sentence each."""

import numpy as np

from littlebig_calibration.certifying import Certified, Guarantee
from littlebig_calibration.evidence import Calibration
from littlebig_calibration.outcomes import Outcomes, scores

# A tolerance is recommended only if what it certifies escalates no more than this.
WORTHWHILE = 0.5


def notes(
    calibration: Calibration, rows: Outcomes, found: Certified | None, asked: Guarantee, reason: str | None
) -> list[str]:
    """The notes of a calibration.

    Args:
        calibration: without notes.
        rows: its images.
        found: what the walk found; None for other rules.
        asked: tolerance and confidence level.
        reason: why score and offset were chosen, or None.
    """
    result = [] if reason is None else [f"of the options allowed, the tuning images chose {reason}"]
    lost, won = (int(np.count_nonzero(rows.lost == sign)) for sign in (1, -1))
    if rows.compared and won >= lost:
        result.append(
            f"little is at least as accurate as big on these {len(rows):,} images (alone right on {won:,}, big on "
            f"{lost:,}): serve little alone, or check that the two are not swapped"
        )
    distinct = np.unique(scores(rows, calibration.score)).size
    if distinct < len(rows) / 10:
        result.append(
            f"only {distinct:,} distinct values of the {calibration.score} among {len(rows):,} images: equal scores "
            "are escalated together, so few thresholds differ in effect; predict with unrounded probabilities"
        )
    if calibration.chosen.cost_reduction is not None and calibration.chosen.cost_reduction < 0:
        result.append("the cascade costs more than big alone: allow a larger loss, or take a cheaper little")
    if calibration.rule == "paper":
        result.append(
            "the paper's rule guarantees nothing for other images: it loses accuracy on about half of all samples"
        )
    if found is not None:
        result += _of_the_walk(calibration, found, asked)
    return result


def _of_the_walk(calibration: Calibration, found: Certified, asked: Guarantee) -> list[str]:
    result = []
    images, chosen = calibration.data.images, calibration.chosen
    if found.certificate.labels_ran_out:
        result.append(
            f"the labels end at an escalation rate of {found.certificate.stopped_at:.1%}: more of them may certify "
            "less; 'littlebig label' lists the next ones"
        )
    if chosen.threshold is None:
        remedy = (
            f"probably about {calibration.images_needed:,} images are needed (an estimate)"
            if calibration.images_needed is not None
            else "on these images every threshold lost more than that: allow a larger loss or try another little"
        )
        easier = next((each for each in calibration.tolerances if each.escalation_rate <= WORTHWHILE), None)
        if easier is not None:
            remedy += (
                f"; a loss of {easier.max_accuracy_loss:.1%} is certified at {easier.escalation_rate:.0%} escalated"
            )
        result.append(
            f"nothing could be certified for a loss of at most {asked.max_accuracy_loss:.2%} "
            f"at {asked.confidence_level:.0%} confidence, so the answer is big only; {remedy}"
        )
    elif chosen.escalation_if_repeated and chosen.escalation_if_repeated[1] == 1.0:
        result.append(
            f"{images:,} images are few for this guarantee: on some other samples of as many nothing would be certified"
        )
    return result
