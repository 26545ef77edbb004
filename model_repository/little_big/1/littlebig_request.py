"""One request: the images it brings, and how it wants them answered."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from littlebig_errors import INVALID_ARG, GateError
from littlebig_images import Images
from littlebig_quoting import quoted
from littlebig_settings import POLICIES, REQUEST_PARAMETERS, GateSettings


@dataclass(frozen=True)
class Permission:
    """What a request may set.

    Attributes:
        parameters: names.
        min_threshold: the smallest threshold.
        max_threshold: the largest.
    """

    parameters: tuple[str, ...] = REQUEST_PARAMETERS
    min_threshold: float = 0.0
    max_threshold: float = 1.0

    @classmethod
    def from_settings(cls, settings: GateSettings) -> Permission:
        """As the repository's parameters say."""
        return cls(settings.allow, settings.min_threshold, settings.max_threshold)

    def check(self, names: Iterable[str]) -> None:
        """Refuse a parameter that no request, or no request here, may set.

        Raises:
            GateError: INVALID_ARG, naming the first one, and those that may be set.
        """
        for name in sorted(names):
            if name not in self.parameters:
                known = name in REQUEST_PARAMETERS
                what = f"parameter '{name}' may not be set here" if known else f"unknown parameter '{quoted(name)}'"
                raise _invalid(f"{what}; a request may set {' and '.join(self.parameters) or 'none'}")

    def threshold(self, value: object) -> float:
        """A threshold within the bounds.

        Raises:
            GateError: INVALID_ARG, naming the bounds.
        """
        low, high = self.min_threshold, self.max_threshold
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise _invalid(f"parameter 'threshold' = {quoted(repr(value))} is not a number in [{low:g}, {high:g}]")
        return float(value)


ANYTHING = Permission()


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

    def override(self, parameters: str, permission: Permission = ANYTHING) -> Options:
        """These options, with those that a request sets replaced.

        Args:
            parameters: JSON object as Triton's `request.parameters()` returns it, or an empty string.
            permission: what the request may set.

        Raises:
            GateError: INVALID_ARG, naming the parameter that is unknown, wrong or not allowed.
        """
        given = json.loads(parameters) if parameters else {}
        if not given:
            return self
        permission.check(given)
        return Options(
            threshold=permission.threshold(given["threshold"]) if "threshold" in given else self.threshold,
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


def _policy(value: object) -> str:
    if value not in POLICIES:
        raise _invalid(f"parameter 'policy' = {quoted(repr(value))} is not one of {', '.join(POLICIES)}")
    return str(value)


def _invalid(message: str) -> GateError:
    return GateError(INVALID_ARG, message)
