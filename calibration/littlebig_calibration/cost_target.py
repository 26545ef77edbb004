"""The cost target: the best accuracy within an escalation rate, and an upper limit of what it loses."""

import numpy as np
from scipy import special

from littlebig_calibration._arrays import Array
from littlebig_calibration.certifying import Pool, split
from littlebig_calibration.outcomes import DecisionRule, Outcomes, discordant_counts, scores
from littlebig_calibration.trinomial import loss_upper_limit
from littlebig_calibration.tuning import Division
from littlebig_calibration.walk import walk_thresholds


def escalation_cap(score: Array, max_escalation: float, confidence_level: float) -> float:
    """The highest observed score that, as a threshold, keeps the true escalation rate within the target.

    This is an exact one-sided tolerance limit (Wilks 1941): the fraction of images below the k-th of n scores is at
    most Beta(k, n - k + 1) distributed, whatever the scores' distribution. No labels are used.

    Args:
        score: float32 [n].
        max_escalation: the target, in (0, 1).
        confidence_level: 0.95 for 95 %.

    Returns:
        A threshold; 0 where n is too small for any.
    """
    rank = np.arange(1, len(score) + 1)
    exceeds = 1 - special.betainc(rank, len(score) - rank + 1, max_escalation)
    safe = int(np.count_nonzero(exceeds <= 1 - confidence_level))
    return float(np.sort(score)[safe - 1]) if safe else 0.0


def halves(rows: Outcomes) -> Division:
    """Half of the images choose the threshold, the other half measure it."""
    choosing, measuring = split(rows, 0.5)
    return Division(choosing, (Pool(measuring),))


def best_within(tuning: Outcomes, rule: DecisionRule, max_escalation: float, confidence_level: float) -> float:
    """The threshold with the best accuracy on the tuning images among those within the target.

    Args:
        tuning: the images that choose.
        rule: score and offset.
        max_escalation: the target, in (0, 1).
        confidence_level: probability that the target is kept on new images.
    """
    score = scores(tuning, rule.score)
    cap, thresholds = np.float32(escalation_cap(score, max_escalation, confidence_level)), walk_thresholds(score)
    candidates = np.concatenate([[cap], thresholds[thresholds < cap]]).astype(np.float32)
    lost, won = discordant_counts(tuning, rule, candidates)
    # On a tie the lower threshold wins, because it costs less.
    return float(candidates[len(candidates) - 1 - int(np.argmin((lost - won)[::-1]))])


def measured_loss(certifying: Outcomes, rule: DecisionRule, threshold: float, confidence_level: float) -> float:
    """The upper confidence limit of the accuracy lost against big, at a threshold that other images chose."""
    lost, won = discordant_counts(certifying, rule, np.array([threshold], dtype=np.float32))
    return loss_upper_limit(int(lost[0]), int(won[0]), len(certifying), confidence_level)
