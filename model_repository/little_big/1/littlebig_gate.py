"""The gate's decisions, without Triton in them: who answers an image, and why.

Every image of a batch (a row) has one verdict, from what its request asks for to who answered it in the end:

    Options.verdict   what its request's policy says
    judge             which are unsure, once little's scores are known
    spare             which of those little answers all the same, because big has too much to do
    little_stands     whose little answer is kept although big has answered too (arbitration)

Each is a plain function. Between ONNX Runtime's runs nothing of Python or NumPy is left in the caches, and then a
comparison in a loop over a few rows costs a fraction of what NumPy's machinery for the same takes to get going.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from littlebig_overload import Relief
from littlebig_settings import POLICIES

# The `stage` tensor's codes: who answered, and why not big where big was wanted.
LITTLE, BIG, LITTLE_BIG_FAILED, LITTLE_OVERLOADED = 0, 1, 2, 3
# Who answers a row, why, and the code of `stage`; a verdict is the place in this list.
VERDICTS = (
    ("little", "sure", LITTLE),
    ("little", "policy", LITTLE),
    ("big", "policy", BIG),
    ("big", "unsure", BIG),
    ("little", "overload", LITTLE_OVERLOADED),
    ("little", "big_failed", LITTLE_BIG_FAILED),
    ("little", "arbitrated", LITTLE),
)
SURE, LITTLE_ONLY, BIG_ONLY, UNSURE, SPARED, BIG_FAILED, ARBITRATED = range(len(VERDICTS))
# No answer but an error.
LOST = len(VERDICTS)
_BY_POLICY = {"cascade": SURE, "little": LITTLE_ONLY, "big": BIG_ONLY}


class BadRequest(ValueError):
    """A request that asks for what the gate does not have: which parameter, and what it may be."""


@dataclass(frozen=True)
class Options:
    """How one request wants to be answered.

    Attributes:
        threshold: escalate when score < threshold, in [0, 1]; rounded to float32, which scores are.
        policy: `cascade` lets the score decide, `little` and `big` ask that stage alone.
    """

    threshold: float
    policy: str = "cascade"

    def __post_init__(self) -> None:
        """A score that equals the threshold as float32 is not below it."""
        object.__setattr__(self, "threshold", float(np.float32(self.threshold)))

    @property
    def verdict(self) -> int:
        """What a row starts with."""
        return _BY_POLICY[self.policy]

    def with_request(self, parameters: str) -> Options:
        """These options, overridden by what one request says.

        Args:
            parameters: the request's parameters as Triton gives them, a JSON object in a string, or an empty string.

        Raises:
            BadRequest: naming the parameter that is unknown or wrong.
        """
        given = json.loads(parameters) if parameters else {}
        if not given:
            return self
        unknown = sorted(set(given) - {"threshold", "policy"})
        if unknown:
            raise BadRequest(f"unknown parameter '{unknown[0]}'; a request may set threshold and policy")
        return Options(
            threshold=_threshold(given.get("threshold", self.threshold)),
            policy=_policy(given.get("policy", self.policy)),
        )


def judge(verdicts: Sequence[int], scores: Sequence[float], thresholds: Sequence[float]) -> list[int]:
    """Find the rows that little is unsure of.

    A score that is no number counts as unsure: a broken little model must not look like a sure one.

    Args:
        verdicts: per row; only those of SURE rows change.
        scores: little's, float32 values; where little was not asked they do not matter.
        thresholds: float32 values.

    Returns:
        The verdicts, UNSURE where score < threshold.
    """
    return [
        UNSURE if verdict == SURE and not score >= threshold else verdict
        for verdict, score, threshold in zip(verdicts, scores, thresholds, strict=True)
    ]


def spare(verdicts: Sequence[int], scores: Sequence[float], thresholds: Sequence[float], relief: Relief) -> list[int]:
    """Leave unsure rows to little while big has too much to do, the surest first.

    Each row waits for those of the batch that are less sure, measured by their own thresholds. A row for big alone, or
    with a score that is no number, is never spared.

    Args:
        verdicts: per row; only those of UNSURE rows change.
        scores: little's.
        thresholds: as asked for.
        relief: how far they are lowered.

    Returns:
        The verdicts, SPARED where the score is not below the lowered threshold.
    """
    unsure = [row for row, verdict in enumerate(verdicts) if verdict == UNSURE]
    scored = sorted(
        (row for row in unsure if not math.isnan(scores[row])), key=lambda row: scores[row] / (thresholds[row] or 1.0)
    )
    before = verdicts.count(BIG_ONLY) + len(unsure) - len(scored)
    found = list(verdicts)
    for place, row in enumerate(scored, before):
        if scores[row] >= relief.threshold(thresholds[row], place):
            found[row] = SPARED
    return found


def little_stands(little: float, big: float, offset: float) -> bool:
    """Whether little's answer is kept although big has answered: logit(little) - logit(big) > offset.

    Args:
        little: little's confidence.
        big: big's.
        offset: from the calibration, in logits; confidences are clipped to [1e-6, 1 - 1e-6] before.

    Returns:
        False where either is no number.
    """
    return _logit(little) - _logit(big) > offset


class Answers:
    """The batch's answers, row by row, as the stages fill them in.

    Args:
        rows: rows of the batch.

    Attributes:
        tensors: output name -> array [rows, ...]; made when a stage first writes it.
    """

    def __init__(self, rows: int) -> None:
        """No stage has answered."""
        self.tensors: dict[str, npt.NDArray[np.generic]] = {}
        self._rows = rows

    def write(self, rows: Sequence[int], outputs: Mapping[str, npt.NDArray[np.generic]]) -> None:
        """Take a stage's outputs for some rows, over whatever stood there.

        Args:
            rows: in ascending order.
            outputs: name -> array [rows to write, ...], in the order of the rows.
        """
        for name, array in outputs.items():
            if len(rows) == self._rows:  # nothing to mix it with: no copy, unless big could not write into it later
                self.tensors[name] = array if array.flags.writeable else array.copy()
                continue
            if name not in self.tensors:
                self.tensors[name] = np.zeros((self._rows, *array.shape[1:]), array.dtype)
            self.tensors[name][rows] = array

    def tell(self, verdicts: Sequence[int]) -> None:
        """Write who answered: the output `stage`, int32 [rows, 1]."""
        self.tensors["stage"] = np.array([_STAGES[verdict] for verdict in verdicts], np.int32).reshape(-1, 1)

    def scores(self, name: str) -> list[float]:
        """Little's `confidence` or `margin` per row; zero where no stage has answered."""
        if name not in self.tensors:
            return [0.0] * self._rows
        found: list[float] = self.tensors[name].reshape(-1).tolist()
        return found


_STAGES = (*(stage for _, _, stage in VERDICTS), LITTLE)


def _logit(confidence: float) -> float:
    clipped = min(max(confidence, 1e-6), 1.0 - 1e-6)  # in this order: what is no number stays none
    return math.log(clipped) - math.log1p(-clipped)


def _threshold(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value) or not 0.0 <= value <= 1.0:
        raise BadRequest(f"parameter 'threshold' = {value!r} is not a number in [0, 1]")
    return float(value)


def _policy(value: object) -> str:
    if value not in POLICIES:
        raise BadRequest(f"parameter 'policy' = {value!r} is none of {', '.join(POLICIES)}")
    return str(value)
