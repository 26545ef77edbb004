"""The processes of Python models (stubs) of a running tritonserver, and their state in /proc."""

import contextlib
import os
import signal
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from littlebig_server.keeper import group_members

NAME = "triton_python_backend_stub"
_SHORT_NAME = NAME[:15]  # as Linux cuts it
# Position of the instance's name in a stub's command line; the model's own file comes first.
_INSTANCE = 8
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class State(Enum):
    """What a process does."""

    RUNS = "runs"
    STOPPED = "was stopped"
    ENDED = "ended"


@dataclass(frozen=True)
class Stub:
    """One process of a Python model.

    Attributes:
        pid: its process id.
        model: the model's name.
        instance: Triton's name of the instance, such as little_0_1.
        started: when, in clock ticks since boot; tells it from a later process with the same id.
    """

    pid: int
    model: str
    instance: str
    started: int

    @property
    def state(self) -> State:
        """Whether it runs."""
        fields = _fields(self.pid)
        return State.ENDED if fields is None or int(fields[19]) != self.started else _state(fields)

    @property
    def cpu_s(self) -> float:
        """Seconds that it has computed; 0 after its end."""
        fields = _fields(self.pid)
        return 0.0 if fields is None else (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

    def kill(self) -> None:
        """End it at once, unless it has ended."""
        if self.state is not State.ENDED:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def find_stubs(group: int) -> list[Stub]:
    """The running stubs of a tritonserver.

    Args:
        group: the server's process group.
    """
    stubs = []
    for member in group_members(group):
        if member.is_zombie or member.name != _SHORT_NAME:
            continue
        try:
            words = Path(f"/proc/{member.pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:  # it has ended meanwhile
            continue
        fields = _fields(member.pid)
        # REPOSITORY/MODEL/VERSION/model.py
        if fields is not None and len(words) > _INSTANCE:
            stubs.append(Stub(member.pid, Path(words[1]).parts[-3], words[_INSTANCE], int(fields[19])))
    return stubs


def state_of(pid: int) -> State:
    """What a process does."""
    fields = _fields(pid)
    return State.ENDED if fields is None else _state(fields)


def _state(fields: list[str]) -> State:
    return State.ENDED if fields[0] in "ZX" else State.STOPPED if fields[0] in "Tt" else State.RUNS


def _fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the process's name: state, parent, ... ; None after its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
