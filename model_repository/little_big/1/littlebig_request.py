"""One request: the images it brings, and how it wants them answered."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from littlebig_errors import INVALID_ARG, GateError
from littlebig_images import Images
from littlebig_settings import POLICIES


@dataclass(frozen=True)
class Options:
    """A request's parameters.

    Attributes:
        threshold: escalate when score < threshold, in [0, 1]; rounded to float32, as scores are.
        policy: `cascade` lets the score decide; `little` and `big` ask that stage alone.
    """

    threshold: float
    policy: str = "cascade"

    def __post_init__(self) -> None:
        """Round the threshold, so that a score equal to it is not below it."""
        object.__setattr__(self, "threshold", float(np.float32(self.threshold)))

    def override(self, parameters: str) -> Options:
        """These options, with those that a request sets replaced.

        Args:
            parameters: JSON object as Triton's `request.parameters()` returns it, or an empty string.

        Raises:
            GateError: INVALID_ARG, naming the parameter that is unknown or wrong.
        """
        given = json.loads(parameters) if parameters else {}
        if not given:
            return self
        unknown = sorted(set(given) - {"threshold", "policy"})
        if unknown:
            raise _invalid(f"unknown parameter '{unknown[0]}'; a request may set threshold and policy")
        return Options(
            threshold=_threshold(given.get("threshold", self.threshold)),
            policy=_policy(given.get("policy", self.policy)),
        )


@dataclass(slots=True, eq=False)
class Request:
    """A request that has passed validation.

    Attributes:
        triton: Triton's request object.
        images: what it brings, in memory that the gate owns.
        outputs: names of the outputs that the caller wants.
        timeout_us: the caller's time limit in microseconds; 0 for none.
        options: its parameters, or the model's defaults.
        received: when the gate took its batch, in seconds of `time.monotonic`. How long the request stood in Triton's
            queue before is not known to a Python model.
        rows: its rows of the batch.
        waits_for_big: whether any of its rows still needs big.
        sender: Triton's response sender, if it is answered after `execute` has returned.
    """

    triton: Any
    images: Images
    outputs: Sequence[str]
    timeout_us: int
    options: Options
    received: float = 0.0
    rows: range = field(default=range(0), init=False)
    waits_for_big: bool = field(default=False, init=False)
    sender: Any = field(default=None, init=False)


def longest_timeout_us(requests: Iterable[Request]) -> int:
    """The longest time limit among requests in microseconds; 0 if one has no limit, or there are no requests."""
    limits = [request.timeout_us for request in requests]
    return max(limits, default=0) if all(limits) else 0


def _threshold(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value) or not 0.0 <= value <= 1.0:
        raise _invalid(f"parameter 'threshold' = {value!r} is not a number in [0, 1]")
    return float(value)


def _policy(value: object) -> str:
    if value not in POLICIES:
        raise _invalid(f"parameter 'policy' = {value!r} is not one of {', '.join(POLICIES)}")
    return str(value)


def _invalid(message: str) -> GateError:
    return GateError(INVALID_ARG, message)
