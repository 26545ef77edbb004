"""Decides from counters that a Python model hangs: requests wait for it, and nothing of it moves.

A busy model computes or answers, so load alone never counts as a hang.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

# A stub's own threads use far less CPU than this fraction of a core; a model that computes uses far more.
_IDLE_CPU = 0.02
# The gate waits for its stages, so it hangs only if they do not move either.
GATE = "little_big"
_CALLS = {GATE: ("little", "big")}
_COUNTER = re.compile(
    r'^nv_inference_(pending_request_count|request_success|request_failure)\{model="([^"]+)".*\} (\d+)', re.MULTILINE
)


@dataclass(frozen=True)
class Activity:
    """What a model has done so far.

    Attributes:
        waiting: requests in its queue.
        finished: requests that it has answered, with success or an error.
        cpu_s: seconds that its processes have computed.
    """

    waiting: int
    finished: int
    cpu_s: float


def read_activities(metrics: str, cpu_s: Mapping[str, float]) -> dict[str, Activity]:
    """The activity of each model.

    Args:
        metrics: the page of Triton's metrics.
        cpu_s: seconds that the processes of each Python model have computed.
    """
    counts: dict[str, list[int]] = {}
    for counter, model, value in _COUNTER.findall(metrics):
        waiting_and_finished = counts.setdefault(model, [0, 0])
        waiting_and_finished[0 if counter.startswith("pending") else 1] += int(value)
    return {model: Activity(waiting, finished, cpu_s.get(model, 0.0)) for model, (waiting, finished) in counts.items()}


class HangDetector:
    """Compares the activities of one server over time."""

    def __init__(self, timeout: float, may_wait: Mapping[str, float]) -> None:
        """Start to compare.

        Args:
            timeout: seconds without any movement after which a model with waiting requests counts as hung.
            may_wait: seconds more for a model that has a time limit of its own for what it waits for.
        """
        self._timeout, self._may_wait = timeout, may_wait
        self._moved: dict[str, tuple[float, Activity]] = {}
        self._idle_until: dict[str, float] = {}

    def observe(self, now: float, activities: Mapping[str, Activity]) -> list[str]:
        """Take in the activities of this moment.

        Args:
            now: a monotonic clock's time in seconds.
            activities: of each model.

        Returns:
            The models that hang, stages before the gate that calls them.
        """
        for model, activity in activities.items():
            since, before = self._moved.get(model, (now, None))
            # Read as movement from the first reading on.
            if before is None or _has_moved(before, activity, now - since):
                self._moved[model] = (now, activity)
            if activity.waiting == 0:
                self._idle_until[model] = now
        hung = [model for model in activities if self._hangs(model, now)]
        return sorted(hung, key=lambda model: len(_CALLS.get(model, ())))

    def limit(self, model: str) -> float:
        """Seconds without movement after which a model counts as hung."""
        return self._timeout + self._may_wait.get(model, 0.0)

    def forget(self, model: str) -> None:
        """Begin anew with a model, which has been loaded again."""
        self._moved.pop(model, None)
        self._idle_until.pop(model, None)

    def _hangs(self, model: str, now: float) -> bool:
        moved = max(self._moved[each][0] for each in (model, *_CALLS.get(model, ())) if each in self._moved)
        return now - max(moved, self._idle_until.get(model, moved)) >= self.limit(model)


def _has_moved(before: Activity, activity: Activity, seconds: float) -> bool:
    computed = activity.cpu_s - before.cpu_s
    return activity.finished != before.finished or computed < 0 or computed > max(_IDLE_CPU * seconds, 0.05)
