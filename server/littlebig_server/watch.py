"""Watches a running server: loads a model again whose process is dead or stopped, and ends a server that hangs.

Triton 24.10 does not start a dead process again and goes on to report "ready": docs/known-issues.md. A stopped process
is killed and never continued, because it might answer with another caller's response.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from littlebig_server.errors import ControlError
from littlebig_server.hang import GATE, HangDetector, read_activities
from littlebig_server.stubs import State, Stub, find_stubs, state_of

if TYPE_CHECKING:
    from littlebig_server.server import TritonServer

_POLL_SECONDS = 0.25
_ACTIVITY_SECONDS = 1.0
_LOAD_SECONDS = 15.0
# A process has one second to answer while it loads, so a load may be refused on a busy machine.
_LOAD_ATTEMPTS = 3
# A model that is lost so often is not cured by loads.
_MOST_HEALS, _HEALS_WITHIN_SECONDS = 10, 300.0


class Watch:
    """Watches one server until it ends or cannot be healed."""

    def __init__(self, server: TritonServer, report: Callable[[str], None], hang_timeout: float) -> None:
        """Remember the processes of a server that is ready.

        Args:
            server: the server.
            report: called with one line for each lost and each healed model.
            hang_timeout: seconds without movement after which a model with waiting requests counts as hung; 0 to
                look for dead and stopped processes only.
        """
        self._server, self._report = server, report
        self._stubs = find_stubs(server.pid)
        self._retired: list[tuple[Stub, float]] = []
        self._stopped_before: set[int] = set()
        self._heals: dict[str, deque[float]] = {}
        self._hang_timeout = hang_timeout
        self._hangs = HangDetector(hang_timeout, {GATE: server.big_timeout_s()})
        self._next_activity = 0.0

    def run(self) -> str:
        """Watch until the server has ended.

        Returns:
            Why it ended, in one line. A server that cannot be healed is stopped first.
        """
        server = self._server
        while True:
            reason = server.wait(_POLL_SECONDS)
            if reason is not None:
                return f"tritonserver (pid {server.pid}) ended by itself: {reason}"
            problem = self._kill_stopped_server() or self._heal_lost() or self._kill_hung()
            if problem is not None:
                server.stop()
                return problem
            self._end_retired()

    def _kill_stopped_server(self) -> str | None:
        """Kill tritonserver if a signal has stopped it or its keeper; returns what was stopped."""
        for pid, name in ((self._server.pid, "tritonserver"), (self._server.keeper_pid, "its keeper")):
            if self._stays_stopped(pid, state_of(pid)):
                self._server.kill()
                return f"{name} (pid {pid}) was stopped by a signal, and killed"
        return None

    def _heal_lost(self) -> str | None:
        """Load the models again whose process has ended or was stopped; returns why that failed."""
        lost: dict[str, Stub] = {}
        for stub in self._stubs:
            state = stub.state
            if state is State.ENDED or self._stays_stopped(stub.pid, state):
                lost.setdefault(stub.model, stub)
        for model, stub in lost.items():
            what = f"process {stub.pid} of model '{model}', instance {stub.instance}, {stub.state.value}"
            problem = self._heal(model, what)
            if problem is not None:
                return problem
        return None

    def _kill_hung(self) -> str | None:
        """Kill a server with a model that hangs; returns which."""
        now = time.monotonic()
        if not self._hang_timeout or now < self._next_activity:
            return None
        self._next_activity = now + _ACTIVITY_SECONDS
        try:
            metrics = self._server.read_metrics()
        except ControlError:  # it starts to stop, or a busy machine
            return None
        cpu_s: dict[str, float] = {}
        for stub in self._stubs:
            cpu_s[stub.model] = cpu_s.get(stub.model, 0.0) + stub.cpu_s
        hung = [model for model in self._hangs.observe(now, read_activities(metrics, cpu_s)) if model in cpu_s]
        if not hung:
            return None
        # Triton 24.10 never answers the load of a model whose instances all hang.
        self._server.kill()
        model, seconds = hung[0], self._hangs.limit(hung[0])
        return f"model '{model}' has not moved for {seconds:g} s while requests wait, and was killed"

    def _heal(self, model: str, what: str) -> str | None:
        """Load a model again; returns why that failed, in one line."""
        heals = self._heals.setdefault(model, deque(maxlen=_MOST_HEALS))
        now = time.monotonic()
        if len(heals) == _MOST_HEALS and now - heals[0] < _HEALS_WITHIN_SECONDS:
            return f"{what}, the model's {_MOST_HEALS + 1}th loss within {_HEALS_WITHIN_SECONDS:g} s: see the log above"
        heals.append(now)
        self._report(f"{what}: loading the model again")
        before = self._of(model)
        for stub in before:
            if stub.state is State.STOPPED:
                stub.kill()
        # Also those that an earlier heal replaced, which may still answer their last requests.
        known = find_stubs(self._server.pid)
        failure = self._load(model)
        after = [stub for stub in find_stubs(self._server.pid) if stub.model == model and stub not in known]
        if failure is None and len(after) != len(before):
            failure = f"it has {len(after)} processes instead of {len(before)}"
        if failure is not None:
            return f"{what}, and the model could not be loaded again: {failure}"
        self._stubs = [stub for stub in self._stubs if stub not in before] + after
        # Their last requests may take as long as at a stop.
        end = time.monotonic() + self._server.settings.exit_timeout
        self._retired += [(stub, end) for stub in before]
        self._hangs.forget(model)
        self._report(f"model '{model}' is loaded again, after {time.monotonic() - now:.1f} s")
        return None

    def _load(self, model: str) -> str | None:
        """Load a model again, with a few attempts; returns the last failure."""
        end = time.monotonic() + _LOAD_SECONDS
        failure = ""
        for _ in range(_LOAD_ATTEMPTS):
            left = end - time.monotonic()
            if left <= 0 or self._server.has_ended():
                break
            try:
                self._server.load_again(model, left)
            except ControlError as refusal:
                failure = str(refusal)
            else:
                return None
        return failure

    def _of(self, model: str) -> list[Stub]:
        return [stub for stub in self._stubs if stub.model == model]

    def _stays_stopped(self, pid: int, state: State) -> bool:
        """Whether a process was found stopped twice in a row: a tracer stops one for moments."""
        stayed = state is State.STOPPED and pid in self._stopped_before
        if state is State.STOPPED:
            self._stopped_before.add(pid)
        else:
            self._stopped_before.discard(pid)
        return stayed

    def _end_retired(self) -> None:
        """Kill processes of replaced instances that Triton does not end: it still waits for their dead sibling."""
        now = time.monotonic()
        for stub, end in self._retired:
            if end <= now or stub.state is State.STOPPED:
                stub.kill()
        self._retired = [(stub, end) for stub, end in self._retired if stub.state is not State.ENDED]
