"""What tritonserver 24.10 answers in the states that no gRPC status tells apart; tests ask the real one.

Between SIGTERM and its end each part refuses in words of its own, under UNAVAILABLE, INTERNAL and NOT_FOUND: the server
itself, a model's queue, a stage that the gate calls, and a model that is unloaded already.
"""

from __future__ import annotations

_STOPPING = ("Server exiting", "Server is stopping", "Server not ready", "has no available versions")
_BUSY = ("Exceeds maximum queue size", "Request timeout expired")
_DEAD = "is not healthy"


def stopping(said: str | None) -> bool:
    """Whether a server refuses because it stops; such a request has changed nothing and may be sent again."""
    return any(words in (said or "") for words in _STOPPING)


def busy(said: str | None) -> bool:
    """Whether a queue is full, or a request's time in it is over: asking again would make it worse."""
    return any(words in (said or "") for words in _BUSY)


def dead(said: str | None) -> bool:
    """Whether the Python process of a model is no more, which Triton tells one second after it was asked."""
    return _DEAD in (said or "")
