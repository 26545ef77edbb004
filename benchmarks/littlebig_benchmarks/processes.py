"""What the server's processes used during a run, and how much of the machine went to others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

_STUB = "triton_python_backend_stub"


@dataclass(frozen=True)
class Used:
    """CPU time so far, in seconds.

    Attributes:
        by_role: of the server's processes: `tritonserver`, and each Python model by its name.
        ours: of these, this process, and the children it has waited for.
        machine: of all processes on all cores, with what the hypervisor took.
        wall: seconds on a clock, times cores.
    """

    by_role: Mapping[str, float]
    ours: float
    machine: float
    wall: float


@dataclass(frozen=True)
class Usage:
    """The difference of two readings.

    Attributes:
        cpu_seconds: role -> CPU seconds.
        other_load: share of the machine's CPU time that went to processes that are not ours, in [0, 1].
    """

    cpu_seconds: Mapping[str, float]
    other_load: float


def role(command: list[str]) -> str:
    """Which part of the server a process is, from its command line: tritonserver, or a Python model's name."""
    if command and Path(command[0]).name == _STUB and len(command) > 1:
        return Path(command[1]).parents[1].name
    return "tritonserver"


def server_processes(pid: int | None) -> list[tuple[str, psutil.Process]]:
    """The server's processes with their roles; none if the server is not ours."""
    if pid is None:
        return []
    parent = psutil.Process(pid)
    return [
        (role(process.cmdline()), process)
        for process in (parent, *parent.children(recursive=True))
        if _is_alive(process)
    ]


def read(server: list[tuple[str, psutil.Process]]) -> Used:
    """CPU times now."""
    by_role: dict[str, float] = {}
    for name, process in server:
        times = process.cpu_times()
        by_role[name] = by_role.get(name, 0.0) + times.user + times.system
    own = os.times()
    machine = psutil.cpu_times()
    busy = sum(machine) - machine.idle - machine.iowait - machine.guest - machine.guest_nice
    ours = sum(by_role.values()) + own.user + own.system + own.children_user + own.children_system
    return Used(by_role, ours, busy, sum(machine) - machine.guest - machine.guest_nice)


def difference(before: Used, after: Used) -> Usage:
    """What was used between two readings."""
    wall = after.wall - before.wall
    other = (after.machine - before.machine) - (after.ours - before.ours)
    return Usage(
        {name: seconds - before.by_role.get(name, 0.0) for name, seconds in after.by_role.items()},
        max(0.0, other / wall) if wall > 0 else 0.0,
    )


def memory(server: list[tuple[str, psutil.Process]]) -> dict[str, float]:
    """Role -> proportional set size in MiB: what is shared is counted once over all."""
    found: dict[str, float] = {}
    for name, process in server:
        found[name] = found.get(name, 0.0) + process.memory_full_info().pss / 2**20
    return found


def _is_alive(process: psutil.Process) -> bool:
    return bool(process.status() != psutil.STATUS_ZOMBIE)
