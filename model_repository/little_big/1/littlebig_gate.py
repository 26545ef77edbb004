"""The gate's decisions, without Triton in them: which rows go to which stage, and whose answer counts.

A batch of requests goes through these steps, each a pure function of arrays:

    plan_little   rows that the little stage must see
    plan_big      rows that the big stage must see, once the little stage's score is known
    Answers       label, confidence and stage per row, filled in by each stage in turn
    little_stands rows whose little answer is kept although big has answered too (arbitration)

The adapter (model.py) makes the calls between them. NumPy is all this file needs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from littlebig_overload import NO_RELIEF, Relief
from littlebig_settings import POLICIES

# The `stage` tensor's codes: who answered, and why not big where big was wanted.
LITTLE, BIG, LITTLE_BIG_FAILED, LITTLE_OVERLOADED = 0, 1, 2, 3

Mask = npt.NDArray[np.bool_]
Outputs = Mapping[str, npt.NDArray[np.generic]]
Scalar = TypeVar("Scalar", bound=np.generic)


class BadRequest(ValueError):
    """A request that asks for what the gate does not have: which parameter, and what it may be."""


@dataclass(frozen=True)
class Options:
    """How one request wants to be answered.

    Attributes:
        threshold: escalate when score < threshold, in [0, 1].
        policy: `cascade` lets the score decide, `little` and `big` ask that stage alone.
    """

    threshold: float
    policy: str = "cascade"

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


@dataclass(frozen=True)
class Question:
    """The part of one request that the gate decides on.

    Attributes:
        rows: how many images the request holds.
        options: how it wants them answered.
    """

    rows: int
    options: Options


@dataclass(frozen=True)
class BigPlan:
    """Which rows of the batch go to the big stage.

    Attributes:
        escalated: rows that it must see, boolean [rows of the batch].
        spared: unsure rows that it would see were it not overloaded, boolean [rows of the batch].
    """

    escalated: Mask
    spared: Mask


def plan_little(questions: Sequence[Question]) -> Mask:
    """Which rows of the batch the little stage must see: all but those whose request wants big alone.

    Args:
        questions: the batch's requests in order; their rows follow each other.

    Returns:
        Boolean mask of shape [rows of the batch].
    """
    return _per_row([question.options.policy != "big" for question in questions], questions, np.bool_)


def plan_big(questions: Sequence[Question], score: npt.NDArray[np.float32], relief: Relief = NO_RELIEF) -> BigPlan:
    """Which rows of the batch the big stage must see.

    A score that is no number counts as unsure, under any relief: a broken little model must not look like a sure one.

    Args:
        questions: the batch's requests in order; their rows follow each other.
        score: the little stage's, float32 [rows of the batch]; ignored where its request wants one stage alone.
        relief: how far thresholds are lowered; a request for big alone is never spared. The surest are spared first:
            each row waits for those of the batch that are less sure, measured by their own thresholds.

    Returns:
        The rows escalated, and those spared.
    """
    policies = [question.options.policy for question in questions]
    asked = _per_row([question.options.threshold for question in questions], questions, np.float32)
    cascade = _per_row([policy == "cascade" for policy in policies], questions, np.bool_)
    only_big = _per_row([policy == "big" for policy in policies], questions, np.bool_)
    unsure = cascade & ~(score >= asked)
    escalated = only_big | unsure
    spared = np.zeros_like(unsure)
    if relief.target and unsure.any():
        rows = np.flatnonzero(unsure)
        rows = rows[np.argsort(score[rows] / asked[rows])]
        before = np.count_nonzero(only_big) + np.arange(len(rows))
        spared[rows] = score[rows] >= relief.threshold(asked[rows], before)
        escalated &= ~spared
    return BigPlan(np.asarray(escalated, np.bool_), spared)


def little_stands(
    little: npt.NDArray[np.float32], big: npt.NDArray[np.float32], offset: float
) -> npt.NDArray[np.bool_]:
    """Which rows keep little's answer although big has answered: logit(little) - logit(big) > offset.

    Args:
        little: little's confidences, float32 [rows].
        big: big's, float32 [rows].
        offset: from the calibration, in logits; confidences are clipped to [1e-6, 1 - 1e-6] before.

    Returns:
        Boolean mask of shape [rows]; a confidence that is no number never stands against big.
    """
    return np.asarray(_logit(little) - _logit(big) > offset, np.bool_)


@dataclass
class Answers:
    """The batch's answers, row by row, as the stages fill them in.

    Attributes:
        rows: rows of the batch.
        tensors: output name -> array [rows, ...]; made when a stage first writes it.
        stage: int32 [rows, 1], the stage that answered.
    """

    rows: int
    tensors: dict[str, npt.NDArray[np.generic]] = field(default_factory=dict)
    stage: npt.NDArray[np.int32] = field(init=False)

    def __post_init__(self) -> None:
        """Until another stage writes them, all rows are little's."""
        self.stage = np.full((self.rows, 1), LITTLE, np.int32)

    def write(self, mask: Mask, stage: int, outputs: Outputs) -> None:
        """Take a stage's outputs for some rows, over whatever stood there.

        Args:
            mask: the rows to write, boolean [rows].
            stage: one of the stage codes.
            outputs: name -> array [rows to write, ...], in the order of the rows.
        """
        everywhere = mask.all()
        for name, array in outputs.items():
            if everywhere:  # nothing to mix it with: no copy, unless big could not write into it later
                self.tensors[name] = np.require(array, requirements="W")
                continue
            if name not in self.tensors:
                self.tensors[name] = np.zeros((self.rows, *array.shape[1:]), array.dtype)
            self.tensors[name][mask] = array
        self.stage[mask] = stage

    def score(self, name: str) -> npt.NDArray[np.float32]:
        """Little's `confidence` or `margin`, float32 [rows]; zero where no stage has answered."""
        if name not in self.tensors:
            return np.zeros(self.rows, np.float32)
        return self.tensors[name].reshape(self.rows).astype(np.float32, copy=False)

    def part(self, rows: slice) -> dict[str, npt.NDArray[np.generic]]:
        """One request's share of the answers, with `stage` among them."""
        return {"stage": self.stage[rows], **{name: array[rows] for name, array in self.tensors.items()}}


def gather(
    images: Sequence[npt.NDArray[np.uint8]], mask: Mask, room: npt.NDArray[np.uint8] | None = None
) -> npt.NDArray[np.uint8]:
    """The masked rows of several requests' images as one batch; without a copy where one request is the batch.

    Args:
        images: per request uint8 [rows, H, W, 3].
        mask: boolean [rows of the batch].
        room: uint8 [rows or more, H, W, 3] to put a whole batch into; without it the batch gets memory of its own.

    Returns:
        uint8 [rows chosen, H, W, 3].
    """
    if mask.all():
        place = None if room is None or len(room) < len(mask) else room[: len(mask)]
        return images[0] if len(images) == 1 else np.concatenate(images, out=place)
    ends = np.cumsum([len(batch) for batch in images])
    chosen = np.flatnonzero(mask)
    found = np.empty((len(chosen), *images[0].shape[1:]), np.uint8)
    for place, row, request in zip(found, chosen, np.searchsorted(ends, chosen, side="right"), strict=True):
        place[:] = images[request][row - ends[request]]
    return found


def _per_row(values: Sequence[object], questions: Sequence[Question], dtype: type[Scalar]) -> npt.NDArray[Scalar]:
    rows = [question.rows for question in questions]
    return np.array([value for value, count in zip(values, rows, strict=True) for _ in range(count)], dtype)


def _logit(confidence: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    clipped = np.clip(confidence.astype(np.float64), 1e-6, 1.0 - 1e-6)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def _threshold(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value) or not 0.0 <= value <= 1.0:
        raise BadRequest(f"parameter 'threshold' = {value!r} is not a number in [0, 1]")
    return float(value)


def _policy(value: object) -> str:
    if value not in POLICIES:
        raise BadRequest(f"parameter 'policy' = {value!r} is none of {', '.join(POLICIES)}")
    return str(value)
