"""The gate's decisions: who answers each image, and why. Plain functions of NumPy-free data.

Every image of a batch (a row) has one decision, which changes as its answer comes about:

    BY_POLICY      from the request's policy: SURE until little has scored it, LITTLE_ONLY or BIG_ONLY
    escalate       SURE becomes UNSURE where score < threshold
    shed           UNSURE becomes SHED where big is overloaded: little answers
    little_wins    UNSURE becomes ARBITRATED where little's answer is kept although big has answered
                   UNSURE becomes BIG_FAILED where little stands in for big (littlebig_batch)
                   any row becomes LOST where its request gets an error

Loops over a few rows are faster here than NumPy, whose code ONNX Runtime has pushed out of the caches by then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from littlebig_overload import ThresholdScaling

# Codes of the output `stage`: who answered, and why not big where big was wanted.
STAGE_LITTLE, STAGE_BIG, STAGE_BIG_FAILED, STAGE_OVERLOAD = 0, 1, 2, 3
# The stage that answers a row, the reason, and the code of `stage`. A decision is an index into this table.
DECISIONS = (
    ("little", "sure", STAGE_LITTLE),
    ("little", "policy", STAGE_LITTLE),
    ("big", "policy", STAGE_BIG),
    ("big", "unsure", STAGE_BIG),
    ("little", "overload", STAGE_OVERLOAD),
    ("little", "big_failed", STAGE_BIG_FAILED),
    ("little", "arbitrated", STAGE_LITTLE),
)
SURE, LITTLE_ONLY, BIG_ONLY, UNSURE, SHED, BIG_FAILED, ARBITRATED = range(len(DECISIONS))
# The row has no answer; its request gets an error.
LOST = len(DECISIONS)
# Code of the output `stage` by decision. LOST has one too, which no caller sees.
STAGE_CODES = (*(code for _, _, code in DECISIONS), STAGE_LITTLE)
# Decisions of rows that only big can answer.
NEEDS_BIG = (UNSURE, BIG_ONLY)
BY_POLICY = {"cascade": SURE, "little": LITTLE_ONLY, "big": BIG_ONLY}
# Confidences are clipped to [LOGIT_CLIP, 1 - LOGIT_CLIP] before their logit is taken, as in the calibration.
LOGIT_CLIP = 1e-6


def escalate(decisions: Sequence[int], scores: Sequence[float], thresholds: Sequence[float]) -> list[int]:
    """Find the rows that little is unsure of.

    A NaN score counts as unsure: a broken little model must not look like a sure one.

    Args:
        decisions: per row; only SURE rows change.
        scores: little's, float32 values; ignored where little was not asked.
        thresholds: float32 values.

    Returns:
        The decisions, UNSURE where score < threshold.
    """
    return [
        UNSURE if decision == SURE and not score >= threshold else decision
        for decision, score, threshold in zip(decisions, scores, thresholds, strict=True)
    ]


def shed(
    decisions: Sequence[int], scores: Sequence[float], thresholds: Sequence[float], scaling: ThresholdScaling
) -> list[int]:
    """Leave unsure rows to little while big is overloaded, the surest first.

    Each row waits for the less sure rows of its batch, where sureness is score / threshold. Rows for big alone and
    rows with a NaN score are never shed.

    Args:
        decisions: per row; only UNSURE rows change.
        scores: little's.
        thresholds: as requested.
        scaling: how far they are lowered.

    Returns:
        The decisions, SHED where the score is not below the lowered threshold.
    """
    unsure = [row for row, decision in enumerate(decisions) if decision == UNSURE]
    scored = sorted(
        (row for row in unsure if not math.isnan(scores[row])), key=lambda row: scores[row] / (thresholds[row] or 1.0)
    )
    always_escalated = decisions.count(BIG_ONLY) + len(unsure) - len(scored)
    result = list(decisions)
    for rows_before, row in enumerate(scored, always_escalated):
        if scores[row] >= scaling.threshold(thresholds[row], rows_before):
            result[row] = SHED
    return result


def little_wins(little: float, big: float, offset: float) -> bool:
    """Whether arbitration keeps little's answer: logit(little) - logit(big) > offset.

    Args:
        little: little's confidence.
        big: big's confidence.
        offset: from the calibration, in logits.

    Returns:
        False where either confidence is NaN.
    """
    return _logit(little) - _logit(big) > offset


def _logit(confidence: float) -> float:
    clipped = min(max(confidence, LOGIT_CLIP), 1.0 - LOGIT_CLIP)  # in this order NaN stays NaN
    return math.log(clipped) - math.log1p(-clipped)
