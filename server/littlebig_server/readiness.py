"""Waits until a model can be asked, or says why it cannot."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from littlebig_server.diagnosis import failed_model, still_loading
from littlebig_server.keeper import group_members
from littlebig_server.listening import listening_ports
from littlebig_server.ports import Ports

_BETWEEN_POLLS = 0.1
_REQUEST_TIMEOUT = 2.0
# Of most stubs that die Triton tells within a second or two. One that dies before its first message, as for want of its
# model.py, stays a zombie: release 24.10 waits for that message without an end.
_DEAD_STUB_AFTER = 3.0


@dataclass(frozen=True)
class NotReady:
    """Why a server is not ready.

    Attributes:
        why: one line.
        ended: whether the process is over; otherwise it hangs, or needs more time.
    """

    why: str
    ended: bool


class Waiting:
    """One wait for one server.

    Attributes:
        address: IPv4 address it listens on.
        ports: its ports; all three must be open.
        model: the model that must be ready.
    """

    def __init__(self, address: str, ports: Ports, model: str) -> None:
        """Prepare to wait; see the class for the arguments."""
        self.address, self.ports, self.model = address, ports, model
        self._stub_dead_since: float | None = None

    def wait(
        self, group: int, has_ended: Callable[[], bool], log: Callable[[], Sequence[str]], timeout: float
    ) -> NotReady | None:
        """Poll until the model is ready, the server has ended, hangs, or the time is over.

        Args:
            group: the server's process group.
            has_ended: whether the server's process is over.
            log: its log so far.
            timeout: seconds.

        Returns:
            None once the model is ready, otherwise why it is not.
        """
        deadline = time.monotonic() + timeout
        while True:
            if has_ended():
                return NotReady("", ended=True)
            if self._is_open(group) and self._get(f"/v2/models/{self.model}/ready") is not None:
                return None
            if self._a_stub_is_dead(group):
                why = failed_model(log()) or f"the Python process of a model died while loading ({_names(log())})"
                return NotReady(why, ended=False)
            if time.monotonic() > deadline:
                return NotReady(f"not ready after {timeout:g} s: {self._unready() or _names(log())}", ended=False)
            time.sleep(_BETWEEN_POLLS)

    def _is_open(self, group: int) -> bool:
        return {self.ports.http, self.ports.grpc, self.ports.metrics} <= listening_ports(group)

    def _a_stub_is_dead(self, group: int) -> bool:
        dead = any(member.is_zombie and member.name.startswith("triton_python") for member in group_members(group))
        if not dead:
            self._stub_dead_since = None
        elif self._stub_dead_since is None:
            self._stub_dead_since = time.monotonic()
        return self._stub_dead_since is not None and time.monotonic() - self._stub_dead_since > _DEAD_STUB_AFTER

    def _unready(self) -> str:
        """The models that a server that answers already does not count as ready."""
        body = self._get("/v2/repository/index", method="POST")
        models = json.loads(body) if body else []
        return ", ".join(
            f"{model['name']} ({model.get('reason') or model.get('state', 'not loaded')})"
            for model in models
            if model.get("state") != "READY"
        )

    def _get(self, path: str, method: str = "GET") -> bytes | None:
        """The body of an answer with status 200, None for any other answer or none.

        By http.client and not urllib.request, which would ask a proxy from the environment for 127.0.0.1.
        """
        connection = http.client.HTTPConnection(self.address, self.ports.http, timeout=_REQUEST_TIMEOUT)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
            return body if answer.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def _names(log: Sequence[str]) -> str:
    """The models still being loaded, as the log tells; the server answers nothing before all are."""
    loading = still_loading(log)
    return f"still loading {', '.join(loading)}" if loading else "no model has begun to load"
