"""The circuit breaker: while it is open, big is not called for callers, only probed.

    closed     a call times out, or three in a row fail     -> open
    open       every `retry_s` seconds a probe is sent      -> half open
    half open  the probe is answered in time                -> closed
               it is not                                    -> open

See M. Nygard, "Release It!" (2007). Pure: the caller reads the clock.
"""

from __future__ import annotations

CLOSED, HALF_OPEN, OPEN = 0, 1, 2
# One error may be an image's fault. Three in a row are the stage's.
_ERRORS_IN_A_ROW = 3


class Breaker:
    """The breaker's state.

    Args:
        retry_s: seconds from one probe of an open breaker to the next.

    Attributes:
        state: CLOSED, HALF_OPEN or OPEN.
        reason: why it is open; for callers.
    """

    def __init__(self, retry_s: float) -> None:
        """Start closed."""
        self.state = CLOSED
        self.reason = ""
        self._retry_s = retry_s
        self._errors = 0
        self._next_probe = 0.0

    def failed(self, now: float, reason: str, timed_out: bool) -> None:
        """Note a call or probe that failed or timed out.

        Args:
            now: seconds, of the same clock in all methods.
            reason: what was wrong.
            timed_out: a timeout opens the breaker at once, because the next one would take as long again.
        """
        self._errors += 1
        if self.state != CLOSED:
            self.state, self.reason = OPEN, reason
        elif timed_out or self._errors >= _ERRORS_IN_A_ROW:
            self.state, self.reason = OPEN, reason
            self._next_probe = now + self._retry_s

    def succeeded(self) -> None:
        """Note a call or probe that was answered in time."""
        self.state, self.reason, self._errors = CLOSED, "", 0

    def probe_due(self, now: float) -> bool:
        """Whether to send a probe now: True once per `retry_s` seconds while the breaker is not closed."""
        if self.state == CLOSED or now < self._next_probe:
            return False
        self.state, self._next_probe = HALF_OPEN, now + self._retry_s
        return True
