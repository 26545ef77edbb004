"""Kubernetes' rule for the number of pods, as its documentation has it, for the metrics and behaviour of a rendered HPA.

desired = ceil(pods x mean / target) for each metric, unless mean / target is within 10 % of 1; the largest counts. Then the
highest (scaling down) or lowest (scaling up) recommendation of the stabilisation window, no faster than the policies.
https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# kube-controller-manager's defaults: seconds between two looks, and what counts as no difference.
SYNC = 15
TOLERANCE = 0.1


def desired(pods: int, means: Mapping[str, float], targets: Mapping[str, float]) -> int:
    """How many pods the metrics ask for.

    Args:
        pods: how many there are.
        means: requests that wait per pod, by model.
        targets: what may wait per pod, by model.
    """
    asked = []
    for model, target in targets.items():
        ratio = means[model] / target
        asked.append(pods if abs(ratio - 1) <= TOLERANCE else math.ceil(pods * ratio))
    return max(asked)


@dataclass
class Autoscaler:
    """An HPA over time.

    Attributes:
        spec: of the rendered HorizontalPodAutoscaler.
        pods: how many there are now.
    """

    spec: Mapping[str, Any]
    pods: int
    _now: int = 0
    _recommended: list[tuple[int, int]] = field(default_factory=list)
    _changes: list[tuple[int, int]] = field(default_factory=list)

    @property
    def targets(self) -> dict[str, float]:
        """Model -> requests that may wait per pod."""
        metrics = (metric["pods"] for metric in self.spec["metrics"])
        return {
            one["metric"]["selector"]["matchLabels"]["model"]: float(one["target"]["averageValue"]) for one in metrics
        }

    def look(self, waiting: Mapping[str, float]) -> int:
        """One look, SYNC seconds after the one before.

        Args:
            waiting: requests that wait in all pods together, by model.

        Returns:
            The number of pods from now on.
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
        """The number of pods that the policies admit now."""
        admitted = []
        for policy in behavior["policies"]:
            # What there was a period ago, without the changes into this direction since then.
            since = sum(
                change for at, change in self._changes if at > self._now - policy["periodSeconds"] and change * sign > 0
            )
            before = self.pods - since
            step = policy["value"] if policy["type"] == "Pods" else before * policy["value"] / 100
            admitted.append(math.ceil(before + step) if sign > 0 else math.floor(before - step))
        best = max if (behavior["selectPolicy"] == "Max") == (sign > 0) else min
        return best(admitted)


def replay(spec: Mapping[str, Any], pods: int, waiting: Sequence[Mapping[str, float]]) -> list[int]:
    """Number of pods after each look at the requests that wait in all pods together."""
    scaler = Autoscaler(spec, pods)
    return [scaler.look(one) for one in waiting]
