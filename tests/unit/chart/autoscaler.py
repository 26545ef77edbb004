"""Kubernetes' documented rule for the number of pods, with the metrics and behaviour of a rendered HPA.

desired = ceil(pods x mean / target) for each metric, unless mean / target is within 10 % of 1; the largest decides. Then
the highest (scaling down) or lowest (scaling up) recommendation of the stabilisation window, limited by the policies.
https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# kube-controller-manager's defaults: sync period in seconds, and the tolerance of mean / target.
SYNC = 15
TOLERANCE = 0.1


def desired(pods: int, means: Mapping[str, float], targets: Mapping[str, float]) -> int:
    """The number of pods that the metrics require.

    Args:
        pods: the current number.
        means: waiting requests per pod, by model.
        targets: target of waiting requests per pod, by model.
    """
    required = []
    for model, target in targets.items():
        ratio = means[model] / target
        required.append(pods if abs(ratio - 1) <= TOLERANCE else math.ceil(pods * ratio))
    return max(required)


@dataclass
class Autoscaler:
    """An HPA over time.

    Attributes:
        spec: specification of the rendered HorizontalPodAutoscaler.
        pods: the current number.
    """

    spec: Mapping[str, Any]
    pods: int
    _now: int = 0
    _recommended: list[tuple[int, int]] = field(default_factory=list)
    _changes: list[tuple[int, int]] = field(default_factory=list)

    @property
    def targets(self) -> dict[str, float]:
        """Target of waiting requests per pod, by model."""
        metrics = (metric["pods"] for metric in self.spec["metrics"])
        return {
            metric["metric"]["selector"]["matchLabels"]["model"]: float(metric["target"]["averageValue"])
            for metric in metrics
        }

    def sync(self, waiting: Mapping[str, float]) -> int:
        """Decide once, SYNC seconds after the previous time.

        Args:
            waiting: waiting requests of all pods together, by model.

        Returns:
            The new number of pods.
        """
        self._now += SYNC
        means = {model: count / self.pods for model, count in waiting.items()}
        wanted = desired(self.pods, means, self.targets)
        wanted = max(self.spec["minReplicas"], min(self.spec["maxReplicas"], wanted))
        self._recommended.append((self._now, wanted))
        up, down = self.spec["behavior"]["scaleUp"], self.spec["behavior"]["scaleDown"]
        lowest = min(self._within(up["stabilizationWindowSeconds"]))
        highest = max(self._within(down["stabilizationWindowSeconds"]))
        stable = min(max(self.pods, lowest), highest)
        after = min(stable, self._limit(up, 1)) if stable > self.pods else max(stable, self._limit(down, -1))
        self._changes.append((self._now, after - self.pods))
        self.pods = after
        return after

    def _within(self, seconds: int) -> list[int]:
        return [wanted for at, wanted in self._recommended if at > self._now - max(seconds, 1)]

    def _limit(self, behavior: Mapping[str, Any], sign: int) -> int:
        """The number of pods that the policies permit now."""
        permitted = []
        for policy in behavior["policies"]:
            # The number at the period's begin: without the changes in this direction since then.
            since = sum(
                change for at, change in self._changes if at > self._now - policy["periodSeconds"] and change * sign > 0
            )
            before = self.pods - since
            step = policy["value"] if policy["type"] == "Pods" else before * policy["value"] / 100
            permitted.append(math.ceil(before + step) if sign > 0 else math.floor(before - step))
        best = max if (behavior["selectPolicy"] == "Max") == (sign > 0) else min
        return best(permitted)


def replay(spec: Mapping[str, Any], pods: int, waiting: Sequence[Mapping[str, float]]) -> list[int]:
    """Number of pods after each sync, for the waiting requests of all pods together."""
    scaler = Autoscaler(spec, pods)
    return [scaler.sync(queues) for queues in waiting]
