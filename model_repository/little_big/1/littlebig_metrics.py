"""The gate's metrics, on Triton's own endpoint.

Each change of a metric is a message between processes, so the gate counts in memory and publishes the sums once a
second. For the same reason the histogram of scores is made of counters with a histogram's names: `observe` would send a
message per image.
"""

from __future__ import annotations

import ctypes
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from littlebig_gate import DECISIONS, LOST

BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
Labels = tuple[tuple[str, str], ...]

COUNTERS = {
    "littlebig_images_total": "Images answered, by the stage that answered and the reason",
    "littlebig_image_errors_total": "Images answered with an error because this stage failed",
    "littlebig_score_bucket": "Images by little's score: those with a score of at most le",
    "littlebig_score_sum": "Sum of little's scores",
    "littlebig_score_count": "Images that little has scored",
    "littlebig_big_failures_total": "Escalated images that big did not answer, by reason",
    "littlebig_audits_total": "Sure images chosen for an audit by big, by outcome",
    "littlebig_kept_audits_total": "Images chosen for the folder of kept audits, by outcome",
}
GAUGES = {
    "littlebig_threshold": "Escalate when the score is below this: configured, and effective under overload control",
    "littlebig_batches_in_flight": "Batches that wait for big",
    "littlebig_max_batches_in_flight": "Most batches that may wait for big",
    "littlebig_breaker_state": "Circuit breaker of big: 0 closed, 1 half open, 2 open",
    "littlebig_calibrated_escalation_rate": "Ends of the calibration's interval of the escalation rate",
    "littlebig_calibrated_disagreement": "Fraction of the calibration's sure images on which the stages disagree",
}
# Series that exist from the start, at zero: a rate needs a first value.
_INITIAL: tuple[tuple[str, dict[str, str]], ...] = (
    *(("littlebig_images_total", {"stage": stage, "reason": reason}) for stage, reason, _ in DECISIONS),
    *(("littlebig_image_errors_total", {"stage": stage}) for stage in ("little", "big")),
    *(
        ("littlebig_big_failures_total", {"reason": reason})
        for reason in ("error", "timeout", "breaker_open", "caller_timeout")
    ),
    *(("littlebig_audits_total", {"outcome": outcome}) for outcome in ("agree", "disagree", "dropped", "failed")),
    *(
        ("littlebig_kept_audits_total", {"outcome": outcome})
        for outcome in ("kept", "dropped", "failed", "unwritten", "full")
    ),
)


class Tally:
    """Counts and gauges in memory, until they are published. Safe to use from any thread."""

    def __init__(self) -> None:
        """Start all known counters at zero."""
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, Labels], float] = {(name, _labels(labels)): 0.0 for name, labels in _INITIAL}
        self._gauges: dict[tuple[str, Labels], float] = {}
        self._decisions: Counter[int] = Counter()
        self._scores: list[float] = []

    def count(self, name: str, amount: float, **labels: str) -> None:
        """Add to one of COUNTERS."""
        if amount:
            key = (name, _labels(labels))
            with self._lock:
                self._counts[key] = self._counts.get(key, 0.0) + amount

    def set_gauge(self, name: str, value: float, **labels: str) -> None:
        """Set one of GAUGES."""
        with self._lock:
            self._gauges[name, _labels(labels)] = value

    def count_decisions(self, decisions: Iterable[int]) -> None:
        """Count answered images by their decisions; LOST ones are ignored."""
        with self._lock:
            self._decisions.update(decisions)

    def count_scores(self, scores: Sequence[float]) -> None:
        """Count scores. The histogram is made when it is published, so that no answer waits for it.

        Args:
            scores: float32 values; NaN falls into no bucket but +Inf.
        """
        with self._lock:
            self._scores += scores

    def take(self) -> tuple[dict[tuple[str, Labels], float], dict[tuple[str, Labels], float]]:
        """What was counted since the call before, and the gauges."""
        with self._lock:
            counts, self._counts = self._counts, {}
            decisions, self._decisions = self._decisions, Counter()
            scores, self._scores = self._scores, []
            gauges = dict(self._gauges)
        for decision, count in decisions.items():
            if decision != LOST:
                stage, reason, _ = DECISIONS[decision]
                key = ("littlebig_images_total", _labels({"stage": stage, "reason": reason}))
                counts[key] = counts.get(key, 0.0) + count
        ascending = np.sort(np.array(scores, np.float32))  # NaN comes last
        at_most = np.searchsorted(ascending, np.array(BUCKETS, np.float32), side="right")
        for bound, count in zip(BUCKETS, at_most, strict=True):
            counts["littlebig_score_bucket", (("le", f"{bound:g}"),)] = float(count)
        counts["littlebig_score_bucket", (("le", "+Inf"),)] = counts["littlebig_score_count", ()] = float(len(scores))
        counts["littlebig_score_sum", ()] = float(np.nansum(ascending, dtype=np.float64))
        return counts, gauges


class Publisher:
    """Writes a tally to Triton's metrics.

    Args:
        pb_utils: Triton's module.
        model: value of the label `model`.
        instance: value of the label `gate` of gauges. Each instance of the gate is a process with its own state.
    """

    def __init__(self, pb_utils: Any, model: str, instance: str) -> None:
        """Register the metric families."""
        self._model, self._instance = model, instance
        family = pb_utils.MetricFamily
        self._families: Mapping[str, Any] = {
            **{name: _never_freed(family(name, text, family.COUNTER)) for name, text in COUNTERS.items()},
            **{name: _never_freed(family(name, text, family.GAUGE)) for name, text in GAUGES.items()},
        }
        self._metrics: dict[tuple[str, Labels], Any] = {}

    def publish(self, tally: Tally) -> None:
        """Send new counts, and all gauges: a gate that this one has replaced may have set them last."""
        counts, gauges = tally.take()
        self._increment(counts)
        for key, value in gauges.items():
            self._metric(key, {"model": self._model, "gate": self._instance}).set(value)

    def close(self, tally: Tally) -> None:
        """Send new counts, but no gauges: they may belong to a gate that was loaded in place of this one."""
        counts, _ = tally.take()
        self._increment(counts)

    def _increment(self, counts: Mapping[tuple[str, Labels], float]) -> None:
        for key, amount in counts.items():
            metric = self._metric(key, {"model": self._model})
            if amount:
                metric.increment(amount)

    def _metric(self, key: tuple[str, Labels], common: dict[str, str]) -> Any:
        if key not in self._metrics:
            name, labels = key
            self._metrics[key] = _never_freed(self._families[name].Metric(labels={**common, **dict(labels)}))
        return self._metrics[key]


def _never_freed(metric: Any) -> Any:
    """Keep a family or metric until the process ends, and in Triton until the server ends.

    Triton 24.10 counts a metric's users per family object (core's metric_family.cc) and frees the metric with the last
    user of one family, while others still write to it: another instance, or the gate that was loaded in place of this
    one. Its stub also crashes if such an object outlives the model.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(metric))
    return metric


def _labels(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))
