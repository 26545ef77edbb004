"""Overload control: how far to lower the threshold so that the wait for big stays within a latency target.

Little's queueing law in its plainest form says how long an image escalated now will wait: what is before it, divided
by the rate at which big answers. The control compares that with the target and moves a factor on all thresholds: down
quickly in proportion to the excess, up slowly, and not at all in between, so that it settles instead of swinging.
"""

from __future__ import annotations

# Of the target: above HIGH the factor falls, below LOW it rises, between it rests.
_HIGH, _LOW = 0.9, 0.6
# Per second: a wait of twice the target takes three quarters off; an idle stage is fully used again after 5 s.
_FALL, _RISE = 1.4, 0.2
# Half-life of the measured rate, seconds: longer than a batch of big, shorter than a burst.
_HALF_LIFE = 1.0


class ServiceRate:
    """How many images per second the big stage answers while it has any to answer."""

    def __init__(self) -> None:
        """Nothing is known before the first answers."""
        self._answered = 0.0
        self._busy = 0.0

    def observe(self, answered: int, busy: float) -> None:
        """Take in what happened since the last call.

        Args:
            answered: images that big answered.
            busy: seconds in which big had any image to answer.
        """
        keep = 0.5 ** (busy / _HALF_LIFE)
        self._answered = self._answered * keep + answered
        self._busy = self._busy * keep + busy

    def seconds_for(self, images: int) -> float:
        """How long these many images take; 0 where there are none or nothing is known."""
        if images == 0 or self._busy == 0.0:
            return 0.0
        # Half an image where none was answered yet: a stage that hangs is slow, not unknown.
        return images * self._busy / max(self._answered, 0.5)


class ThresholdControl:
    """The factor on all thresholds.

    Args:
        target: seconds within which an escalated image should be answered; 0 leaves the factor at 1.
    """

    def __init__(self, target: float) -> None:
        """Start with thresholds as they are."""
        self.factor = 1.0
        self._target = target

    def update(self, predicted: float, elapsed: float) -> None:
        """Move the factor by what the wait would be now.

        Args:
            predicted: seconds that an image escalated now would take from arrival to answer.
            elapsed: seconds since the last update.
        """
        if self._target == 0.0:
            return
        pressure = predicted / self._target
        if pressure > _HIGH:
            self.factor *= max(0.0, 1.0 - _FALL * min(pressure - _HIGH, 2.0) * elapsed)
        elif pressure < _LOW:
            self.factor = min(1.0, self.factor + _RISE * elapsed)


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
