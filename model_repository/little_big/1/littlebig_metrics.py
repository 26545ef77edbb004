"""What the gate counts, on Triton's own metrics endpoint.

Each change of a metric is a message between processes, so the gate counts in memory and publishes the sums about once
a second. That is also why the score's histogram is made of counters with its series' names: `observe` would send one
message for every image.
"""

from __future__ import annotations

import ctypes
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from littlebig_gate import LOST, VERDICTS

BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
Labels = tuple[tuple[str, str], ...]

COUNTERS = {
    "littlebig_images_total": "Images answered, by the stage whose answer it was and why",
    "littlebig_image_errors_total": "Images answered with an error because this stage failed",
    "littlebig_score_bucket": "Images by little's score, at most le",
    "littlebig_score_sum": "Sum of little's scores",
    "littlebig_score_count": "Images that little has scored",
    "littlebig_big_failures_total": "Images that big did not answer, by reason",
    "littlebig_audits_total": "Sure images that big was to see too, by outcome",
}
GAUGES = {
    "littlebig_threshold": "Escalate when the score is below this: as configured, and as in effect",
    "littlebig_batches_in_flight": "Batches that wait for big",
    "littlebig_max_batches_in_flight": "Limit of batches that wait for big",
    "littlebig_breaker_state": "Circuit breaker of big: 0 closed, 1 half open, 2 open",
    "littlebig_calibrated_escalation_rate": "Interval of the escalation rate in the calibration",
    "littlebig_calibrated_disagreement": "Fraction of the calibration's sure images on which the stages disagree",
}
# Series that are there, at zero, before anything happens: a rate needs a first value.
_FROM_THE_START: tuple[tuple[str, dict[str, str]], ...] = (
    *(("littlebig_images_total", {"stage": stage, "reason": reason}) for stage, reason, _ in VERDICTS),
    *(("littlebig_image_errors_total", {"stage": stage}) for stage in ("little", "big")),
    *(
        ("littlebig_big_failures_total", {"reason": reason})
        for reason in ("error", "timeout", "breaker_open", "caller_timeout")
    ),
    *(("littlebig_audits_total", {"outcome": outcome}) for outcome in ("agree", "disagree", "dropped", "failed")),
)


class Tally:
    """Counts and levels, kept in memory until they are published; safe to use from any thread."""

    def __init__(self) -> None:
        """All counters that are known beforehand stand at zero."""
        self._lock = threading.Lock()
        self._added: dict[tuple[str, Labels], float] = {(name, _labels(of)): 0.0 for name, of in _FROM_THE_START}
        self._levels: dict[tuple[str, Labels], float] = {}
        self._verdicts: Counter[int] = Counter()
        self._scores: list[float] = []

    def add(self, name: str, amount: float, **labels: str) -> None:
        """Count `amount` more of one of COUNTERS."""
        if amount:
            key = (name, _labels(labels))
            with self._lock:
                self._added[key] = self._added.get(key, 0.0) + amount

    def level(self, name: str, value: float, **labels: str) -> None:
        """Set one of GAUGES."""
        with self._lock:
            self._levels[name, _labels(labels)] = value

    def verdicts(self, verdicts: Iterable[int]) -> None:
        """Count images answered by who answered them and why; those that got an error are none."""
        with self._lock:
            self._verdicts.update(verdicts)

    def scores(self, scores: Sequence[float]) -> None:
        """Count scores; their histogram is made when it is published, and keeps no answer waiting.

        Args:
            scores: float32 values; one that is no number falls into no bucket but +Inf.
        """
        with self._lock:
            self._scores += scores

    def take(self) -> tuple[dict[tuple[str, Labels], float], dict[tuple[str, Labels], float]]:
        """What was counted since the last call, and the levels as they are."""
        with self._lock:
            added, self._added = self._added, {}
            verdicts, self._verdicts = self._verdicts, Counter()
            scores, self._scores = self._scores, []
            levels = dict(self._levels)
        for verdict, count in verdicts.items():
            if verdict != LOST:
                stage, reason, _ = VERDICTS[verdict]
                key = ("littlebig_images_total", _labels({"stage": stage, "reason": reason}))
                added[key] = added.get(key, 0.0) + count
        ascending = np.sort(np.array(scores, np.float32))  # what is no number comes last
        at_most = np.searchsorted(ascending, np.array(BUCKETS, np.float32), side="right")
        for bound, count in zip(BUCKETS, at_most, strict=True):
            added["littlebig_score_bucket", (("le", f"{bound:g}"),)] = float(count)
        added["littlebig_score_bucket", (("le", "+Inf"),)] = added["littlebig_score_count", ()] = float(len(scores))
        added["littlebig_score_sum", ()] = float(np.nansum(ascending, dtype=np.float64))
        return added, levels


class Publisher:
    """Writes a tally to Triton's metrics.

    Args:
        pb_utils: Triton's module.
        model: value of the label `model`.
        instance: value of the label `gate` of gauges: each instance of the gate is a process with its own state.
    """

    def __init__(self, pb_utils: Any, model: str, instance: str) -> None:
        """Register the families."""
        self._model, self._instance = model, instance
        family = pb_utils.MetricFamily
        self._families: Mapping[str, Any] = {
            **{name: _never_freed(family(name, text, family.COUNTER)) for name, text in COUNTERS.items()},
            **{name: _never_freed(family(name, text, family.GAUGE)) for name, text in GAUGES.items()},
        }
        self._metrics: dict[tuple[str, Labels], Any] = {}

    def publish(self, tally: Tally) -> None:
        """Send what was added, and all levels: a gate that this one has replaced may have set them last."""
        added, levels = tally.take()
        self._add(added)
        for key, value in levels.items():
            self._metric(key, {"model": self._model, "gate": self._instance}).set(value)

    def close(self, tally: Tally) -> None:
        """Send what was added; the levels may be those of a gate that was loaded in place of this one."""
        self._add(tally.take()[0])

    def _add(self, added: Mapping[tuple[str, Labels], float]) -> None:
        for key, amount in added.items():
            metric = self._metric(key, {"model": self._model})
            if amount:
                metric.increment(amount)

    def _metric(self, key: tuple[str, Labels], common: dict[str, str]) -> Any:
        if key not in self._metrics:
            name, labels = key
            self._metrics[key] = _never_freed(self._families[name].Metric(labels={**common, **dict(labels)}))
        return self._metrics[key]


def _never_freed(made: Any) -> Any:
    """The same family or metric, which stays until the process ends and in Triton until the server does.

    Triton 24.10 counts a metric's users within each family object (core's metric_family.cc) and frees it when the last
    of one goes; others write on into freed memory: another instance, or the gate that was loaded in place of this one.
    And its stub crashes where such objects go later than the model.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(made))
    return made


def _labels(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))
