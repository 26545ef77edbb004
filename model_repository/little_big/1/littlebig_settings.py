"""The gate's settings: the `parameters` of config.pbtxt, checked when the model loads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from littlebig_quoting import quoted

POLICIES = ("cascade", "little", "big")
# Parameters that a request may be allowed to set.
REQUEST_PARAMETERS = ("threshold", "policy")
# Triton's Python backend makes all BLS calls of an instance on 32 threads (thread-pool-size), and a call keeps its
# thread until it returns. Calls of big must leave some: for little, for an audit, and for the probes of a hung stage
# (MAX_PROBES in littlebig_big_stage.py).
MAX_IN_FLIGHT = 22


class BadSetting(ValueError):
    """A parameter of config.pbtxt is wrong: which one, and what it may be."""


@dataclass(frozen=True)
class GateSettings:
    """How the gate decides, and what it does when big does not answer.

    Attributes:
        threshold: escalate when little's score < threshold, in [0, 1].
        policy: `cascade` lets the score decide; `little` and `big` ask that stage alone.
        allow: the parameters that a request may set.
        min_threshold: the smallest threshold that a request may set, in [0, 1].
        max_threshold: the largest.
        score: what is compared with the threshold: little's `confidence` or its `margin`.
        answer: once big has run, `big` takes its answer; `arbitrate` keeps little's where it is surer.
        offset: of the arbitration: how much surer little must be, in logits of the confidences.
        max_batches_in_flight: batches of this instance that may wait for big.
        big_max_batch_size: most images in one call of big; 0 for the gate's own max_batch_size.
        on_big_failure: `error`, or `little` to answer with little's answer.
        big_timeout_ms: time limit for big's answer to a batch, in milliseconds.
        breaker_retry_ms: interval between probes of a big stage that has failed, in milliseconds.
        latency_target_ms: thresholds are lowered when the wait for big threatens this latency; 0 for never.
        threshold_floor: overload control lowers no threshold below this.
        audit_rate: fraction of sure images that are sent to big after they were answered, in [0, 1].
        audit_folder: absolute path of the folder that keeps audits; empty for none.
        audit_rows: most audits that it holds.
        calibrated_escalation_low: lower end of the calibration's interval of the escalation rate, if it has one.
        calibrated_escalation_high: its upper end.
        calibrated_disagreement: fraction of the calibration's sure images on which the stages disagree.
    """

    threshold: float
    policy: str = "cascade"
    allow: tuple[str, ...] = REQUEST_PARAMETERS
    min_threshold: float = 0.0
    max_threshold: float = 1.0
    score: str = "confidence"
    answer: str = "big"
    offset: float = 0.0
    max_batches_in_flight: int = 4
    big_max_batch_size: int = 0
    on_big_failure: str = "error"
    big_timeout_ms: float = 5000.0
    breaker_retry_ms: float = 1000.0
    latency_target_ms: float = 0.0
    threshold_floor: float = 0.0
    audit_rate: float = 0.0
    audit_folder: str = ""
    audit_rows: int = 10_000
    calibrated_escalation_low: float | None = None
    calibrated_escalation_high: float | None = None
    calibrated_disagreement: float | None = None

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> GateSettings:
        """Read the `parameters` of config.pbtxt.

        Args:
            parameters: name -> text. Names in capitals are Triton's own and are ignored.

        Raises:
            BadSetting: naming the parameter that is missing, unknown, wrong, or at odds with another.
        """
        ours = {name: text for name, text in parameters.items() if not name.isupper()}
        known = [field.name for field in fields(cls)]
        for name in ours:
            if name == "gate":
                raise BadSetting("parameter 'gate' is now called 'score': rename it in config.pbtxt")
            if name not in known:
                raise BadSetting(f"unknown parameter '{quoted(name)}'; known are {', '.join(known)}")
        if "threshold" not in ours:
            raise BadSetting("parameter 'threshold' is missing")
        values: dict[str, Any] = {name: _READERS[name](name, text) for name, text in ours.items()}
        settings = cls(**values)
        settings._check_consistency()
        return settings

    def _check_consistency(self) -> None:
        low, high = self.calibrated_escalation_low, self.calibrated_escalation_high
        if self.threshold_floor > self.threshold:
            raise BadSetting(
                f"parameter 'threshold_floor' = {self.threshold_floor} is above 'threshold' = {self.threshold}"
            )
        if self.audit_folder and not self.audit_rate:
            raise BadSetting("parameter 'audit_folder' keeps nothing while 'audit_rate' is 0")
        if self.min_threshold > self.max_threshold:
            raise BadSetting(
                f"parameter 'min_threshold' = {self.min_threshold} is above 'max_threshold' = {self.max_threshold}"
            )
        if (low is None) != (high is None) or (low is not None and high is not None and low > high):
            raise BadSetting(
                f"parameters 'calibrated_escalation_low' = {low} and 'calibrated_escalation_high' = {high} "
                "are not an interval"
            )


def _number(low: float, high: float, kind: str) -> Callable[[str, str], float]:
    def read(name: str, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise BadSetting(f"parameter '{name}' = '{quoted(text)}' is not {kind}")
        return value

    return read


def _whole(low: int, high: int) -> Callable[[str, str], int]:
    def read(name: str, text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise BadSetting(f"parameter '{name}' = '{quoted(text)}' is not a whole number from {low} to {high}")
        return int(text)

    return read


def _one_of(*values: str) -> Callable[[str, str], str]:
    def read(name: str, text: str) -> str:
        if text not in values:
            raise BadSetting(f"parameter '{name}' = '{quoted(text)}' is not one of {', '.join(values)}")
        return text

    return read


def _allowed(name: str, text: str) -> tuple[str, ...]:
    words = [word.strip() for word in text.split(",")]
    if words == ["none"]:
        return ()
    for word in words:
        if word not in REQUEST_PARAMETERS:
            raise BadSetting(
                f"parameter '{name}' = '{quoted(text)}': '{quoted(word)}' is not one of "
                f"{', '.join(REQUEST_PARAMETERS)}; for no parameter at all write none"
            )
    return tuple(parameter for parameter in REQUEST_PARAMETERS if parameter in words)


def _absolute_path(name: str, text: str) -> str:
    if text and not text.startswith("/"):
        raise BadSetting(f"parameter '{name}' = '{quoted(text)}' is not an absolute path")
    return text


_DAY_MS = 86_400_000
_fraction = _number(0.0, 1.0, "a number in [0, 1]")
_READERS: Mapping[str, Callable[[str, str], object]] = {
    "threshold": _fraction,
    "policy": _one_of(*POLICIES),
    "allow": _allowed,
    "min_threshold": _fraction,
    "max_threshold": _fraction,
    "score": _one_of("confidence", "margin"),
    "answer": _one_of("big", "arbitrate"),
    "offset": _number(-100.0, 100.0, "a number from -100 to 100"),
    "max_batches_in_flight": _whole(1, MAX_IN_FLIGHT),
    "big_max_batch_size": _whole(0, 65536),
    "on_big_failure": _one_of("error", "little"),
    "big_timeout_ms": _number(1.0, _DAY_MS, "milliseconds from 1 to a day"),
    "breaker_retry_ms": _number(100.0, _DAY_MS, "milliseconds from 100 to a day"),
    "latency_target_ms": _number(0.0, _DAY_MS, "milliseconds from 0 (off) to a day"),
    "threshold_floor": _fraction,
    "audit_rate": _fraction,
    "audit_folder": _absolute_path,
    "audit_rows": _whole(1, 10_000_000),
    "calibrated_escalation_low": _fraction,
    "calibrated_escalation_high": _fraction,
    "calibrated_disagreement": _fraction,
}
