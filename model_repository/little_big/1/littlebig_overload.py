"""Overload control: lower the thresholds so that the wait for big stays within a latency target.

An image escalated now waits for the images before it, divided by the rate at which big answers (Little's law): those
in flight and the less sure ones of its own batch. All thresholds are multiplied by a factor that falls with that wait.
The factor is a function of the queue alone, computed anew for each batch. The queue integrates, so the loop is of first
order and settles; a factor that is itself moved step by step would be a second integrator, and the loop would swing.
"""

from __future__ import annotations

from dataclasses import dataclass

# Shedding starts at the first fraction of the target, and all that may be shed is at the second. The prediction is a
# mean and the target a tail latency, so the second is well below 1.
_SHED_FIRST, _SHED_ALL = 0.2, 0.5
# Half-life of the measured rate in seconds: longer than a batch of big, shorter than a burst.
_HALF_LIFE_S = 1.0


class ServiceRate:
    """The rate at which big answers images while it has any."""

    def __init__(self) -> None:
        """Start without any observation."""
        self._answered = 0.0
        self._busy = 0.0

    def observe(self, answered: float, busy: float) -> None:
        """Take in what happened since the call before.

        Args:
            answered: images that big answered.
            busy: seconds in which big had an image to answer.
        """
        keep = 0.5 ** (busy / _HALF_LIFE_S)  # idle time says nothing about the rate
        self._answered = self._answered * keep + answered
        self._busy = self._busy * keep + busy

    def seconds_for(self, images: float) -> float:
        """Seconds for a number of images; 0 if nothing is known yet."""
        if images == 0 or self._busy == 0.0:
            return 0.0
        # A stage that was busy without an answer is slow, not unknown: count half an image.
        return images * self._busy / max(self._answered, 0.5)


def threshold_factor(wait_s: float, target_s: float) -> float:
    """The factor for the threshold of an image that would wait `wait_s` for big.

    Args:
        wait_s: predicted seconds from the image's arrival to big's answer.
        target_s: latency target in seconds; 0 for none.

    Returns:
        1 while the wait is well below the target, then falling linearly to 0.
    """
    if target_s == 0.0:
        return 1.0
    return min(max((_SHED_ALL - wait_s / target_s) / (_SHED_ALL - _SHED_FIRST), 0.0), 1.0)


@dataclass(frozen=True)
class ThresholdScaling:
    """How far thresholds are lowered now.

    Attributes:
        wait_s: seconds from arrival to big's answer for the first image that is escalated now.
        per_image_s: seconds that each image escalated before it adds.
        target_s: latency target in seconds; 0 for none, and then no threshold is lowered.
        floor: no threshold is lowered below this.
    """

    wait_s: float = 0.0
    per_image_s: float = 0.0
    target_s: float = 0.0
    floor: float = 0.0

    def threshold(self, requested: float, images_before: int = 0) -> float:
        """The effective threshold of an image with others of its batch escalated before it."""
        factor = threshold_factor(self.wait_s + self.per_image_s * images_before, self.target_s)
        return min(requested, max(self.floor, requested * factor))


NO_SCALING = ThresholdScaling()


class Backlog:
    """An estimate of how long requests wait in Triton's queue before the gate takes them, which Triton does not say.

    A batch holds what arrived while the gate worked on the batch before, so its oldest request waited at most that
    long. A full batch leaves requests behind: each full batch in a row adds its time.
    """

    # Batches less than this many seconds apart have waited for each other.
    _CLOSE_S = 0.002
    # After this many idle seconds there is no backlog.
    _IDLE_S = 0.5

    def __init__(self) -> None:
        """Start idle."""
        self._started = self._ended = float("-inf")
        self._waited = 0.0
        self._left_behind = 0.0

    def batch_started(self, now: float) -> None:
        """Note that the gate has taken a batch, at `now` seconds."""
        self._waited = now - self._started if now - self._ended < self._CLOSE_S else 0.0
        self._started = now

    def batch_ended(self, now: float, full: bool) -> None:
        """Note that `execute` returns; `full` if the batch was as large as it may be."""
        self._ended = now
        self._left_behind = self._left_behind + (now - self._started) if full else 0.0

    def seconds(self, now: float) -> float:
        """Seconds from arrival to little's answer for a request that arrives now."""
        if self._ended >= self._started and now - self._ended > self._IDLE_S:
            return 0.0
        return self._waited + self._left_behind + max(self._ended - self._started, now - self._started, 0.0)
