"""What a running cascade does now, from two readings of Triton's metrics."""

from __future__ import annotations

import http.client
import time
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_SECONDS = 2.0
_MOST_BYTES = 8 << 20
# Of the gate's reasons: images escalated by their score, and images that no score decided.
_ESCALATED, _NOT_DECIDED = ("unsure", "arbitrated"), "policy"


class NoMetrics(Exception):
    """The metrics cannot be read: where, and what to do."""


@dataclass(frozen=True)
class Reading:
    """Counters at one time.

    Attributes:
        at: seconds of a monotonic clock.
        images: images answered, by reason.
        sums: of Triton's counters, by (metric, model).
    """

    at: float
    images: dict[str, float] = field(default_factory=dict)
    sums: dict[tuple[str, str], float] = field(default_factory=dict)

    def after_restart(self, before: Reading) -> bool:
        """Whether the server was started or a model loaded since: a counter is lower than before."""
        return any(total > self.images.get(reason, 0) for reason, total in before.images.items()) or any(
            total > self.sums.get(name, 0) for name, total in before.sums.items()
        )


class Load:
    """Reads a server's metrics."""

    def __init__(self, url: str) -> None:
        """Prepare to read.

        Args:
            url: host:port of Triton's metrics.
        """
        self.url = url
        # Metrics of a server on this machine go through no proxy.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def read(self) -> Reading:
        """Read the counters.

        Raises:
            NoMetrics: nothing answers, or not with metrics.
        """
        try:
            with self._opener.open(f"http://{self.url}/metrics", timeout=_TIMEOUT_SECONDS) as response:
                text = response.read(_MOST_BYTES).decode("utf-8", "replace")
            return parse(text, time.monotonic())
        except (OSError, ValueError, http.client.HTTPException) as failure:
            raise NoMetrics(f"no metrics at {self.url}: name Triton's metrics port with --metrics-url") from failure


def parse(text: str, at: float) -> Reading:
    """Read Prometheus' text format.

    Args:
        text: of the endpoint.
        at: when it was read, seconds.

    Raises:
        ValueError: it is not that format.
    """
    images: dict[str, float] = defaultdict(float)
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "littlebig_images_total":
                images[sample.labels["reason"]] += sample.value
            elif sample.name.startswith("nv_inference_"):
                sums[sample.name.removesuffix("_total"), sample.labels.get("model", "")] += sample.value
    return Reading(at, dict(images), dict(sums))


def between(before: Reading, now: Reading) -> dict[str, float | None]:
    """The load between two readings.

    Returns:
        `images_per_second`; `escalated`, the share of images that the score sent to big; `little_ms` and `big_ms`,
        the mean time of a stage's request with its wait; `cost`, little's computing time per image as a share of
        big's, since the server started. None where nothing was asked.
    """
    seconds = now.at - before.at
    images = {reason: total - before.images.get(reason, 0) for reason, total in now.images.items()}
    decided = sum(count for reason, count in images.items() if reason != _NOT_DECIDED)
    escalated = sum(images.get(reason, 0) for reason in _ESCALATED)
    costs = [_computing(now, stage) for stage in ("little", "big")]
    return {
        "images_per_second": sum(images.values()) / seconds if seconds > 0 else None,
        "escalated": escalated / decided if decided > 0 else None,
        "little_ms": _request_ms(before, now, "little"),
        "big_ms": _request_ms(before, now, "big"),
        "cost": costs[0] / costs[1] if costs[0] and costs[1] else None,
    }


def _request_ms(before: Reading, now: Reading, stage: str) -> float | None:
    requests, microseconds = (
        now.sums.get((name, stage), 0) - before.sums.get((name, stage), 0)
        for name in ("nv_inference_request_success", "nv_inference_request_duration_us")
    )
    return microseconds / requests / 1e3 if requests > 0 else None


def _computing(now: Reading, stage: str) -> float | None:
    """Mean computing time per image, microseconds. Triton counts a batch's duration once for each of its requests."""
    names = (
        "nv_inference_compute_infer_duration_us",
        "nv_inference_request_success",
        "nv_inference_exec_count",
        "nv_inference_count",
    )
    duration, requests, executions, images = (now.sums.get((name, stage), 0) for name in names)
    return duration / requests * executions / images if requests and images else None
