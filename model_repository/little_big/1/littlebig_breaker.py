"""The circuit breaker: a big stage that is gone is asked again now and then, and by nobody who waits for it.

    closed ── a call ran out of time, or several in a row failed ──► open
    open ── every `retry` seconds, with a copy of an image that nobody waits for ──► half open
    half open ── the copy was answered in time ──► closed          ── it was not ──► open

See M. Nygard, "Release It!" (2007). Pure but for the clock, which the caller reads.
"""

from __future__ import annotations

CLOSED, HALF_OPEN, OPEN = 0, 1, 2
# One error may be an image's fault; three in a row are the stage's.
_ERRORS_IN_A_ROW = 3


class Breaker:
    """Whether the big stage is worth a call.

    Args:
        retry: seconds from one probe of an open breaker to the next.
    """

    def __init__(self, retry: float) -> None:
        """Start closed."""
        self.state = CLOSED
        self.reason = ""
        self._retry = retry
        self._errors = 0
        self._next_probe = 0.0

    def failed(self, now: float, reason: str, timed_out: bool) -> None:
        """A call, or a probe, came back with an error or not in time.

        Args:
            now: seconds, by any clock that the other methods are given too.
            reason: what callers are told while the breaker is open.
            timed_out: a call that ran out of time opens at once, because the next one would cost as much again.
        """
        self._errors += 1
        if self.state != CLOSED:
            self.state, self.reason = OPEN, reason
        elif timed_out or self._errors >= _ERRORS_IN_A_ROW:
            self.state, self.reason = OPEN, reason
            self._next_probe = now + self._retry

    def succeeded(self) -> None:
        """A call, or a probe, was answered in time."""
        self.state, self.reason, self._errors = CLOSED, "", 0

    def probe_due(self, now: float) -> bool:
        """Whether the stage should be tried again; says so once per `retry` seconds, until it is closed."""
        if self.state == CLOSED or now < self._next_probe:
            return False
        self.state, self._next_probe = HALF_OPEN, now + self._retry
        return True
