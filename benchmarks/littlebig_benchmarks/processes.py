"""CPU time and memory of the server's processes, and the CPU load of other processes."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import psutil

_STUB = "triton_python_backend_stub"
# Interval between two readings of a Meter, in seconds. A reading takes 0.7 ms of a core that the server then lacks; at
# this interval the CPU times of runs of 4 s are within 1.6 % of those read 40 times a second.
_EVERY = 0.1


@dataclass(frozen=True)
class Used:
    """CPU time so far, in seconds.

    Attributes:
        ours: of the server's processes, this one, and the children it has waited for.
        machine: of all processes on all cores, with the time that the hypervisor took.
        wall: wall-clock seconds, times cores.
    """

    ours: float
    machine: float
    wall: float


def role(command: list[str]) -> str:
    """The part of the server that a process is, by its command line: tritonserver, or a Python model's name."""
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


def cpu_seconds(server: list[tuple[str, psutil.Process]]) -> dict[str, float]:
    """Role -> CPU seconds so far."""
    by_role: dict[str, float] = {}
    for name, process in server:
        times = process.cpu_times()
        by_role[name] = by_role.get(name, 0.0) + times.user + times.system
    return by_role


def read(server: list[tuple[str, psutil.Process]]) -> Used:
    """CPU times now."""
    own = os.times()
    machine = psutil.cpu_times()
    busy = sum(machine) - machine.idle - machine.iowait - machine.guest - machine.guest_nice
    ours = sum(cpu_seconds(server).values()) + own.user + own.system + own.children_user + own.children_system
    return Used(ours, busy, sum(machine) - machine.guest - machine.guest_nice)


def other_load(before: Used, after: Used) -> float:
    """Fraction of the machine's CPU time that other processes used, in [0, 1]."""
    wall = after.wall - before.wall
    other = (after.machine - before.machine) - (after.ours - before.ours)
    return max(0.0, other / wall) if wall > 0 else 0.0


class Meter:
    """Reads the CPU time of the server's processes at intervals, while its block runs.

    The CPU time of a run as a whole is no request's: perf_analyzer first registers a region of shared memory for each
    image of each request in flight, and Triton searches the registered ones for each.
    """

    def __init__(self, server: list[tuple[str, psutil.Process]]) -> None:
        """Store the processes to read."""
        self._server = server
        self._readings: list[tuple[float, dict[str, float]]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Meter:
        """Take the first reading and start the others."""
        self._read()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and take the last reading."""
        self._over.set()
        self._thread.join()
        if error is None:
            self._read()

    def between(self, first: float, last: float) -> dict[str, float]:
        """CPU seconds that each role used between two times of the block, in seconds since the epoch."""
        times = [at for at, _ in self._readings]
        used = {role: [reading[role] for _, reading in self._readings] for role in self._readings[0][1]}
        return {role: float(np.diff(np.interp([first, last], times, values))[0]) for role, values in used.items()}

    def _run(self) -> None:
        while not self._over.wait(_EVERY):
            try:
                self._read()
            except psutil.Error:  # the server has ended: the run itself reports it
                return

    def _read(self) -> None:
        self._readings.append((time.time(), cpu_seconds(self._server)))


def memory(server: list[tuple[str, psutil.Process]]) -> dict[str, float]:
    """Role -> proportional set size in MiB, which counts shared memory once over all processes."""
    by_role: dict[str, float] = {}
    for name, process in server:
        by_role[name] = by_role.get(name, 0.0) + process.memory_full_info().pss / 2**20
    return by_role


def _is_alive(process: psutil.Process) -> bool:
    return bool(process.status() != psutil.STATUS_ZOMBIE)
