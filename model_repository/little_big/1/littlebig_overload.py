"""Overload control: how far to lower the threshold so that the wait for big stays within a latency target.

Little's queueing law in its plainest form says how long an image escalated now will wait: what is before it, divided
by the rate at which big answers. What is before it are the images in flight and the less sure ones of its own batch.
All thresholds are multiplied by a factor that falls with that wait. The factor is a plain function of the queue,
computed anew for each batch, and the queue itself does the integrating: a loop of the first order, which settles. (A
factor that was moved up and down step by step, as congestion control does it, swung: two integrators in one loop.)
"""

from __future__ import annotations

from dataclasses import dataclass

# Fractions of the target: the first images are spared at one, all that may be at the other. What is predicted is a
# mean and what is promised is a tail, so the second stays well below 1.
_FIRST, _ALL = 0.2, 0.5
# Half-life of the measured rate, seconds: longer than a batch of big, shorter than a burst.
_HALF_LIFE = 1.0


class ServiceRate:
    """How many images per second the big stage answers while it has any to answer."""

    def __init__(self) -> None:
        """Nothing is known before the first answers."""
        self._answered = 0.0
        self._busy = 0.0

    def observe(self, answered: float, busy: float) -> None:
        """Take in what happened since the last call.

        Args:
            answered: images that big answered.
            busy: seconds in which big had any image to answer.
        """
        keep = 0.5 ** (busy / _HALF_LIFE)  # idle time says nothing about the rate, and forgets nothing
        self._answered = self._answered * keep + answered
        self._busy = self._busy * keep + busy

    def seconds_for(self, images: float) -> float:
        """How long these many images take; 0 where there are none or nothing is known."""
        if images == 0 or self._busy == 0.0:
            return 0.0
        # Half an image where none was answered yet: a stage that hangs is slow, not unknown.
        return images * self._busy / max(self._answered, 0.5)


def threshold_factor(predicted: float, target: float) -> float:
    """What thresholds are multiplied by, for an image that would wait as long as predicted.

    Args:
        predicted: seconds from the image's arrival to big's answer, were it escalated now.
        target: seconds within which it should be answered; 0 for no target.

    Returns:
        1 while the wait is well below the target, falling in a straight line to 0 as it comes near.
    """
    if target == 0.0:
        return 1.0
    return min(max((_ALL - predicted / target) / (_ALL - _FIRST), 0.0), 1.0)


@dataclass(frozen=True)
class Relief:
    """How far thresholds are lowered while big has more to do than it can.

    Attributes:
        wait: seconds from arrival to big's answer for the first image that is escalated now.
        per_image: seconds that each further one adds for those after it.
        target: seconds within which images should be answered; 0 for no target, and then nothing is lowered.
        floor: no threshold is lowered below this.
    """

    wait: float = 0.0
    per_image: float = 0.0
    target: float = 0.0
    floor: float = 0.0

    def threshold(self, asked: float, before: int = 0) -> float:
        """Effective threshold of an image whose request asks for `asked`, with `before` others before it."""
        factor = threshold_factor(self.wait + self.per_image * before, self.target)
        return min(asked, max(self.floor, asked * factor))


NO_RELIEF = Relief()


class Backlog:
    """How long requests have waited before the gate even looked at them, which Triton does not tell.

    A batch holds what arrived while its predecessor was worked on, so its oldest request waited at most that long.
    A full batch leaves others behind: each one in a row adds its time.
    """

    # Batches that follow each other this closely, in seconds, were waiting for each other.
    _CLOSE = 0.002
    # A gate that has had nothing to do for this long, in seconds, has no backlog.
    _IDLE = 0.5

    def __init__(self) -> None:
        """An idle gate."""
        self._started = self._ended = float("-inf")
        self._waited = 0.0
        self._left_behind = 0.0

    def batch_started(self, now: float) -> None:
        """A batch has come in, at `now` seconds."""
        self._waited = now - self._started if now - self._ended < self._CLOSE else 0.0
        self._started = now

    def batch_ended(self, now: float, full: bool) -> None:
        """Its sure images are answered; `full` says that there was no room for more."""
        self._ended = now
        self._left_behind = self._left_behind + (now - self._started) if full else 0.0

    def seconds(self, now: float) -> float:
        """Seconds from arrival to little's answer, for a request that arrives about now."""
        if self._ended >= self._started and now - self._ended > self._IDLE:
            return 0.0
        return self._waited + self._left_behind + max(self._ended - self._started, now - self._started, 0.0)
