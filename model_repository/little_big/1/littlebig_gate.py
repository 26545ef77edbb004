"""The gate's logic, without Triton in it: which rows go to which stage, and whose answer counts.

A batch of requests goes through three steps, each a pure function of arrays:

    plan_little   rows that the little stage must see
    plan_big      rows that the big stage must see, once the little stage's confidence is known
    Answers       label, confidence and stage per row, filled in by each stage in turn

The adapter (model.py) makes the calls between them. NumPy is all this file needs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

LITTLE, BIG = 0, 1
POLICIES = ("cascade", "little", "big")

Mask = npt.NDArray[np.bool_]
Outputs = Mapping[str, npt.NDArray[np.generic]]


class BadRequest(ValueError):
    """A request that asks for what the gate does not have: which parameter, and what it may be."""


@dataclass(frozen=True)
class Options:
    """How one request wants to be answered.

    Attributes:
        threshold: escalate when confidence < threshold, in [0, 1].
        policy: `cascade` lets the confidence decide, `little` and `big` ask that stage alone.
    """

    threshold: float
    policy: str = "cascade"

    @classmethod
    def of_model(cls, parameters: Mapping[str, str]) -> Options:
        """The defaults, from the `parameters` of config.pbtxt.

        Args:
            parameters: name -> text; `threshold` is required, `policy` is not.

        Raises:
            BadRequest: naming the parameter that is missing, unknown or wrong.
        """
        if "threshold" not in parameters:
            raise BadRequest("parameter 'threshold' is missing")
        try:
            threshold: object = float(parameters["threshold"])
        except ValueError:
            threshold = parameters["threshold"]
        return cls(_threshold(threshold), _policy(parameters.get("policy", "cascade")))

    def with_request(self, parameters: str) -> Options:
        """These options, overridden by what one request says.

        Args:
            parameters: the request's parameters as Triton gives them, a JSON object in a string, or an empty string.

        Raises:
            BadRequest: naming the parameter that is unknown or wrong.
        """
        given = json.loads(parameters) if parameters else {}
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


def plan_little(questions: Sequence[Question]) -> Mask:
    """Which rows of the batch the little stage must see: all but those whose request wants big alone.

    Args:
        questions: the batch's requests in order; their rows follow each other.

    Returns:
        Boolean mask of shape [rows of the batch].
    """
    return _per_row([question.options.policy != "big" for question in questions], questions, np.bool_)


def plan_big(questions: Sequence[Question], confidence: npt.NDArray[np.float32]) -> Mask:
    """Which rows of the batch the big stage must see.

    A confidence that is no number counts as unsure: a broken little model must not look like a sure one.

    Args:
        questions: the batch's requests in order; their rows follow each other.
        confidence: the little stage's, float32 [rows of the batch]; ignored where its request wants one stage alone.

    Returns:
        Boolean mask of shape [rows of the batch].
    """
    policies = [question.options.policy for question in questions]
    threshold = _per_row([question.options.threshold for question in questions], questions, np.float32)
    only_big = _per_row([policy == "big" for policy in policies], questions, np.bool_)
    cascade = _per_row([policy == "cascade" for policy in policies], questions, np.bool_)
    return np.asarray(only_big | (cascade & ~(confidence >= threshold)), np.bool_)


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
            mask: the rows that the stage saw, boolean [rows].
            stage: `LITTLE` or `BIG`.
            outputs: name -> array [rows seen, ...], in the order of the rows.
        """
        for name, array in outputs.items():
            if name not in self.tensors:
                self.tensors[name] = np.zeros((self.rows, *array.shape[1:]), array.dtype)
            self.tensors[name][mask] = array
        self.stage[mask] = stage

    def confidence(self) -> npt.NDArray[np.float32]:
        """The confidence known so far, float32 [rows]; zero where no stage has answered."""
        if "confidence" not in self.tensors:
            return np.zeros(self.rows, np.float32)
        return self.tensors["confidence"].reshape(self.rows).astype(np.float32, copy=False)

    def part(self, start: int, rows: int) -> dict[str, npt.NDArray[np.generic]]:
        """One request's share of the answers, with `stage` among them."""
        share = slice(start, start + rows)
        return {"stage": self.stage[share], **{name: array[share] for name, array in self.tensors.items()}}


def gather(images: Sequence[npt.NDArray[np.uint8]], mask: Mask) -> npt.NDArray[np.uint8]:
    """The masked rows of several requests' images as one batch; without a copy where one request is taken whole.

    Args:
        images: per request uint8 [rows, H, W, 3].
        mask: boolean [rows of the batch].

    Returns:
        uint8 [rows chosen, H, W, 3].
    """
    chosen, start = [], 0
    for batch in images:
        wanted = mask[start : start + len(batch)]
        start += len(batch)
        if wanted.all():
            chosen.append(batch)
        elif wanted.any():
            chosen.append(batch[wanted])
    return chosen[0] if len(chosen) == 1 else np.concatenate(chosen)


def _per_row(values: Sequence[object], questions: Sequence[Question], dtype: type) -> npt.NDArray[np.generic]:
    return np.repeat(np.array(values, dtype), [question.rows for question in questions])


def _threshold(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value) or not 0.0 <= value <= 1.0:
        raise BadRequest(f"parameter 'threshold' = {value!r} is not a number in [0, 1]")
    return float(value)


def _policy(value: object) -> str:
    if value not in POLICIES:
        raise BadRequest(f"parameter 'policy' = {value!r} is none of {', '.join(POLICIES)}")
    return str(value)
