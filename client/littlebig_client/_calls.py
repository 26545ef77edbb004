"""Calls of one server, repeated while it is lost.

A server is lost from the first call that finds it stopping, gone or without a process, until a call is answered. A call
waits for it until `retry_for` seconds after that, so a server that never returns costs the callers that one wait
together: later calls make one attempt. Classifying has no side effects, so a call that was lost in flight is repeated
like one that was refused.
"""

import random
import time
from collections.abc import Mapping
from typing import Any

from tritonclient.utils import InferenceServerException

from littlebig_client._connection import Connection
from littlebig_client._errors import ClientError
from littlebig_client._failures import closed, error, is_refused, may_repeat, status_of, unreachable
from littlebig_client._steps import Call, Pause, Steps
from littlebig_client._triton_messages import is_stopping

# Seconds between two attempts; doubled each time, up to the longest.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.5

# localhost is often both ::1 and 127.0.0.1: one may refuse while the other says that its certificate has expired. The
# pause is that of gRPC's own attempts.
_TELLING_ATTEMPTS, _TELLING_PAUSE = 4, 0.1


class Calls:
    """Calls of one server; safe to use from several threads.

    Attributes:
        connection: the way to the server.
        timeout: seconds for one call, including its repetitions.
        is_closed: set when the owner closes the client.
    """

    def __init__(self, connection: Connection, timeout: float, connect_timeout: float, retry_for: float) -> None:
        """Prepare; nothing is sent yet.

        Args:
            connection: the way to the server.
            timeout: seconds for one call, including its repetitions.
            connect_timeout: seconds for the first response of a server that has not responded before, or was lost.
            retry_for: seconds that calls wait for a lost server.
        """
        self.connection = connection
        self.timeout = timeout
        self.is_closed = False
        self._connect_timeout = min(connect_timeout, timeout)
        self._retry_for = min(retry_for, timeout)
        self._was_heard = False
        self._lost_since: float | None = None

    def call(
        self,
        method: str,
        *arguments: Any,
        settings: Mapping[str, Any] | None = None,
        limit_s: float | None = None,
        repeat: bool = True,
    ) -> Steps[Any]:
        """Call Triton.

        Args:
            method: of tritonclient's InferenceServerClient.
            arguments: its positional arguments.
            settings: its keyword arguments.
            limit_s: seconds for the call; `timeout` by default.
            repeat: whether to wait for a lost server.

        Raises:
            ClientError: the class that `_errors` lists for the failure.
        """
        limit_s = self.timeout if limit_s is None else limit_s
        start, pause, first_failure = time.monotonic(), _FIRST_PAUSE, None
        while True:
            is_connected = False
            try:
                yield from self._connect(limit_s)
                is_connected = True
                remaining = max(start + limit_s - time.monotonic(), _FIRST_PAUSE)
                result = yield Call(method, remaining, arguments, settings or {})
            except InferenceServerException as failure:
                if self.is_closed:
                    raise closed() from None
                if not self._is_lost(failure, is_connected):
                    raise (yield from self._error(failure, is_connected, limit_s, repeat)) from failure
                now = time.monotonic()
                first_failure = first_failure or now
                self._lost_since = self._lost_since or now
                end = min(min(self._lost_since, first_failure) + self._retry_for, start + limit_s)
                if not repeat or now + pause > end:
                    raise (yield from self._error(failure, is_connected, limit_s, repeat)) from failure
            else:
                self._was_heard, self._lost_since = True, None
                return result
            # Jitter keeps clients that lost the same server from returning in step.
            yield Pause(pause * random.uniform(0.5, 1.0))  # noqa: S311  (not used for security)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _connect(self, limit_s: float) -> Steps[None]:
        # Without this check, an address that drops packets would take a whole request timeout and look like a slow
        # model.
        if not self._was_heard or self._lost_since is not None:
            yield Call("is_server_live", min(limit_s, self._connect_timeout))
            self._was_heard = True

    def _is_lost(self, failure: InferenceServerException, is_connected: bool) -> bool:
        """Whether a failed call may be repeated."""
        if is_connected:
            if may_repeat(failure):
                return True
            if status_of(failure) != "DEADLINE_EXCEEDED":
                self._lost_since = None  # the server answered
            return False
        if is_stopping(failure.message()):
            self._was_heard = True
        return self._was_heard and (may_repeat(failure) or status_of(failure) == "DEADLINE_EXCEEDED")

    def _error(
        self, failure: InferenceServerException, is_connected: bool, limit_s: float, repeat: bool
    ) -> Steps[ClientError]:
        if is_stopping(failure.message()):
            return error(self.connection.url, failure, limit_s)
        if is_connected and status_of(failure) == "UNAVAILABLE":
            # From gRPC if there is no connection, else from the server or something between, such as a full queue.
            try:
                yield Call("is_server_live", self._connect_timeout)
            except InferenceServerException as reason:
                failure, is_connected = reason, False
        if is_connected:
            return error(self.connection.url, failure, limit_s)
        if self.is_closed:
            return closed()
        if not self._was_heard:
            failure = yield from self._telling(failure)
            return unreachable(self.connection, failure, self._connect_timeout)
        self._lost_since = self._lost_since or time.monotonic()
        return unreachable(self.connection, failure, self._connect_timeout, self._retry_for if repeat else 0)

    def _telling(self, failure: InferenceServerException) -> Steps[InferenceServerException]:
        """The failure that says most: of a name's several addresses, gRPC reports the one that failed last."""
        for _ in range(_TELLING_ATTEMPTS):
            if self.connection.has_one_address or not is_refused(failure):
                break
            yield Pause(_TELLING_PAUSE)
            try:
                yield Call("is_server_live", self._connect_timeout)
            except InferenceServerException as reason:
                failure = reason
        return failure
