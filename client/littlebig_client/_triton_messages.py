"""Recognises states of tritonserver (24.10) that only its error messages tell apart.

After SIGTERM, each part of Triton refuses requests with its own message and status (UNAVAILABLE, INTERNAL or
NOT_FOUND): the server, a model's queue, a stage called by the gate, and an unloaded model. End-to-end tests check these
messages against the real server.
"""

_STOPPING = ("Server exiting", "Server is stopping", "Server not ready", "has no available versions")
_BUSY = ("Exceeds maximum queue size", "Request timeout expired")
_DEAD = "is not healthy"
# Of a batch that holds another caller's claim of 2^32 images, or its BYTES shorter than they claim to be. This client
# sends neither.
_FAILED_BY_NEIGHBOUR = ("max allowed is", "incomplete string data")
_NO_MEMORY = "Failed to increase the shared memory pool size"
_CLOSED = "This protocol is restricted"
_NO_REGION = "Unable to find shared memory region"


def is_stopping(message: str | None) -> bool:
    """Whether the server refuses because it stops. The request had no effect and may be sent again."""
    return any(phrase in (message or "") for phrase in _STOPPING)


def is_busy(message: str | None) -> bool:
    """Whether a queue is full or a request expired in it. Sending it again would add to the load."""
    return any(phrase in (message or "") for phrase in _BUSY)


def is_dead(message: str | None) -> bool:
    """Whether the Python process of a model is dead. Triton reports this one second after a request."""
    return _DEAD in (message or "")


def is_failed_by_neighbour(message: str | None) -> bool:
    """Whether a malformed request of another caller failed this one, because Triton put both into one batch."""
    return any(phrase in (message or "") for phrase in _FAILED_BY_NEIGHBOUR)


def is_out_of_memory(message: str | None) -> bool:
    """Whether the server's /dev/shm had no room for the request, which other requests may leave a moment later."""
    return _NO_MEMORY in (message or "")


def is_closed_to_clients(message: str | None) -> bool:
    """Whether the server allows a call only with a secret header (`--grpc-restricted-protocol`)."""
    return _CLOSED in (message or "")


def has_no_region(message: str | None) -> bool:
    """Whether the server does not know a shared-memory region, for instance because it restarted."""
    return _NO_REGION in (message or "")
