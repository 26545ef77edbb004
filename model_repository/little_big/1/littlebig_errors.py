"""What can go wrong, and what a caller gets for it.

GateError     the response of a request that gets no answer: a code of Triton's and a message
StageFailed   a call of a stage came back with an error
BigFailure    why big gave no answer for an escalated batch; a GateError where little must not stand in
"""

from __future__ import annotations

from dataclasses import dataclass

# Names of the codes in `pb_utils.TritonError`.
INVALID_ARG, UNAVAILABLE, CANCELLED, INTERNAL = "INVALID_ARG", "UNAVAILABLE", "CANCELLED", "INTERNAL"


class GateError(Exception):
    """A request's error response.

    Attributes:
        code: one of the codes above.
        message: what is wrong, and what the caller can do.
    """

    def __init__(self, code: str, message: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.code = code
        self.message = message


class StageFailed(Exception):
    """A stage's call came back with an error.

    Attributes:
        blames_stage: False where the error says nothing about the stage.
    """

    def __init__(self, message: str, blames_stage: bool = True) -> None:
        """Keep both."""
        super().__init__(message)
        self.blames_stage = blames_stage


@dataclass(frozen=True)
class BigFailure:
    """Why big gave no answer.

    Attributes:
        reason: `error`, `timeout`, `breaker_open` or `caller_timeout`: a label of `littlebig_big_failures_total`.
        message: for the caller.
        error_code: of the caller's error response.
        blames_big: False where the failure says nothing about big.
    """

    reason: str
    message: str
    error_code: str = INTERNAL
    blames_big: bool = True


# Clients know the beginning of this message from Triton's own queues.
CALLER_TIMEOUT = BigFailure(
    "caller_timeout",
    "Request timeout expired before stage 'big' answered: allow the request more time",
    UNAVAILABLE,
)
