"""Waits until a model is ready, or finds out why it is not."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from littlebig_server.control import Control
from littlebig_server.diagnosis import failed_model, still_loading
from littlebig_server.errors import ControlError
from littlebig_server.keeper import group_members
from littlebig_server.listening import listening_ports
from littlebig_server.ports import Ports

_POLL_INTERVAL = 0.1
_REQUEST_TIMEOUT = 2.0
# Triton reports most dead stubs within two seconds. For one that dies before its first message it waits without end,
# and the stub stays a zombie: docs/known-issues.md.
_DEAD_STUB_TIMEOUT = 3.0


@dataclass(frozen=True)
class NotReady:
    """Why a server is not ready.

    Attributes:
        reason: one line.
        ended: whether the process has ended; otherwise it hangs, or needs more time.
    """

    reason: str
    ended: bool


class ReadinessPoller:
    """Polls one starting server.

    Attributes:
        control: calls it over HTTP.
        ports: its ports; all three must be open.
        model: the model that must be ready.
    """

    def __init__(self, control: Control, ports: Ports, model: str) -> None:
        """Prepare to poll; see the class for the arguments."""
        self.control, self.ports, self.model = control, ports, model
        self._stub_dead_since: float | None = None

    def wait(
        self, group: int, has_ended: Callable[[], bool], log: Callable[[], Sequence[str]], timeout: float
    ) -> NotReady | None:
        """Poll until the model is ready, the server has ended or hangs, or the time is over.

        Args:
            group: the server's process group.
            has_ended: whether the server's process has ended.
            log: its log so far.
            timeout: seconds.

        Returns:
            None once the model is ready, otherwise the reason why it is not.
        """
        deadline = time.monotonic() + timeout
        while True:
            if has_ended():
                return NotReady("", ended=True)
            if self._is_open(group) and self._get(f"/v2/models/{self.model}/ready") is not None:
                return None
            if self._has_dead_stub(group):
                reason = failed_model(log()) or f"the Python process of a model died while loading ({_progress(log())})"
                return NotReady(reason, ended=False)
            if time.monotonic() > deadline:
                return NotReady(
                    f"not ready after {timeout:g} s: {self._unready_models() or _progress(log())}", ended=False
                )
            time.sleep(_POLL_INTERVAL)

    def _is_open(self, group: int) -> bool:
        return {self.ports.http, self.ports.grpc, self.ports.metrics} <= listening_ports(group)

    def _has_dead_stub(self, group: int) -> bool:
        """Whether a stub has been dead for longer than Triton needs to report it."""
        is_dead = any(member.is_zombie and member.name.startswith("triton_python") for member in group_members(group))
        if not is_dead:
            self._stub_dead_since = None
        elif self._stub_dead_since is None:
            self._stub_dead_since = time.monotonic()
        return self._stub_dead_since is not None and time.monotonic() - self._stub_dead_since > _DEAD_STUB_TIMEOUT

    def _unready_models(self) -> str:
        """The models that are not ready, with Triton's reason; empty if the server does not answer."""
        body = self._get("/v2/repository/index", method="POST")
        models = json.loads(body) if body else []
        return ", ".join(
            f"{model['name']} ({model.get('reason') or model.get('state', 'not loaded')})"
            for model in models
            if model.get("state") != "READY"
        )

    def _get(self, path: str, method: str = "GET") -> bytes | None:
        """The body of a response with status 200, otherwise None."""
        try:
            return self.control.call(method, path, None, _REQUEST_TIMEOUT)
        except ControlError:
            return None


def _progress(log: Sequence[str]) -> str:
    """The models that are still loading; the server answers nothing before all are loaded."""
    loading = still_loading(log)
    return f"still loading {', '.join(loading)}" if loading else "no model has begun to load"
