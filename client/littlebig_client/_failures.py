"""Turns failed calls into this package's errors: what went wrong, at which server, and what to do."""

import re

from tritonclient.utils import InferenceServerException

from littlebig_client._connection import Connection, Tls
from littlebig_client._errors import (
    ClientError,
    InvalidRequest,
    ModelNotServed,
    RequestRejected,
    ServerFailure,
    ServerTimeout,
    ServerUnreachable,
)
from littlebig_client._triton_messages import (
    is_busy,
    is_closed_to_clients,
    is_dead,
    is_failed_by_neighbour,
    is_out_of_memory,
    is_stopping,
)

# gRPC core's words for a connection that failed, and what they mean to a caller; the first that occurs counts.
_REFUSED = "Connection refused"
_CAUSES = (
    (_REFUSED, "nothing listens there: is it running (littlebig serve), and is this its gRPC port?"),
    ("No such file or directory", "there is no such socket: is the server running, and is this its path?"),
    ("HTTP proxy returned", "the proxy refuses to connect"),
    ("resol", "its host name is unknown: check the url"),
    ("certificate has expired", "its certificate has expired: renew it"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not signed by a known authority: give the one that signed it"),
    ("Hostname Verification", "its certificate is for another name: use that name in the url, or as TLS name"),
    ("WRONG_VERSION_NUMBER", "it has no TLS: turn TLS off, or use its TLS port"),
    ("Expected SETTINGS frame", "it answers HTTP: use Triton's gRPC port, 8001 by default"),
)


def status_of(failure: InferenceServerException) -> str:
    """The name of a failure's gRPC status, such as UNAVAILABLE."""
    return str(failure.status() or "StatusCode.UNKNOWN").removeprefix("StatusCode.")


def may_repeat(failure: InferenceServerException) -> bool:
    """Whether a call may succeed a moment later: its server stops, restarts or was lost, or a model process died.

    So may one that failed because of a malformed request in the same batch, or for want of shared memory. A busy server
    is none of these: repeating would add to its load.
    """
    status, message = status_of(failure), failure.message()
    if status == "CANCELLED":  # the client cancels nothing itself: the server drops its requests as it ends
        return True
    if status == "UNAVAILABLE" and not is_busy(message) and not is_closed_to_clients(message):
        return True
    return any(is_so(message) for is_so in (is_stopping, is_dead, is_failed_by_neighbour, is_out_of_memory))


def is_refused(failure: InferenceServerException) -> bool:
    """Whether nothing listens at the address that gRPC reports."""
    return _REFUSED in (failure.message() or "")


def unreachable(
    connection: Connection, failure: InferenceServerException, connect_timeout: float, gone_for: float | None = None
) -> ServerUnreachable:
    """The error for a server that cannot be reached.

    Args:
        connection: the way to it.
        failure: the call that failed.
        connect_timeout: seconds that the call was given.
        gone_for: seconds for which a server that answered before was waited for; None if it never answered.
    """
    start = f"no Triton server answers gRPC at {connection.url}"
    if gone_for is not None:
        start = f"the server at {connection.url} is gone" + (
            f" and did not return within {gone_for:g} s" if gone_for else ""
        )
    via = ""
    if (variable := connection.proxy) is not None:
        via = f" (through the proxy of the variable {variable}; no_proxy={connection.host} avoids it)"
    return ServerUnreachable(f"{start}: {_cause(connection, failure, connect_timeout)}{via}")


def _cause(connection: Connection, failure: InferenceServerException, connect_timeout: float) -> str:
    status, message = status_of(failure), failure.message() or "no message"
    if status == "DEADLINE_EXCEEDED":
        return f"it does not respond within {connect_timeout:g} s: the host is down, or the server hangs"
    if status == "UNIMPLEMENTED":
        return "another service answers there: check host and port"
    if (known := next((cause for words, cause in _CAUSES if words in message), None)) is not None:
        return known
    if "Socket closed" in message or "reset" in message:
        return _closes(connection.tls)
    return re.sub(r"^.*; last error: ", "", message)


def _closes(tls: Tls | None) -> str:
    if tls is None:
        return "it closes the connection: if it has TLS, turn TLS on"
    if tls.certificate is None:
        return "it closes the connection: if it asks clients for a certificate, give one and its key"
    return "it closes the connection: it may not accept the client's certificate"


def error(url: str, failure: InferenceServerException, limit_s: float) -> ClientError:
    """The error for a server that answered, or did not answer in time."""
    status, message = status_of(failure), failure.message() or "no message"
    if is_stopping(message) or status == "CANCELLED":
        return ServerFailure(f"the server is stopping ({status}): {message}", status)
    if status == "INVALID_ARGUMENT":
        return RequestRejected(message)
    if status == "DEADLINE_EXCEEDED":
        return ServerTimeout(
            f"no answer from {url} within {limit_s:g} s: raise the timeout, or send fewer requests at a time"
        )
    if status == "NOT_FOUND":
        return ModelNotServed(f"the Triton server at {url} does not serve a Little-Big repository: {message}", status)
    return ServerFailure(f"the server failed ({status}): {message}", status)


def closed() -> InvalidRequest:
    """The error of a client that its owner closed."""
    return InvalidRequest("this client is closed: make a new one")
