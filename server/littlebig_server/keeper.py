"""Holds a tritonserver: runs it, and leaves nothing of it behind, however the process that asked for it ends.

Run as a script between the two:  python keeper.py OPTIONS -- tritonserver ARGUMENTS. Why a process of its own: nobody
can clean up after being killed with SIGKILL, and Linux's parent-death signal is no way out, since it fires when the
*thread* that started the child ends, and reaches tritonserver but not its stubs. As a script by itself it can import
nothing of this package, only the standard library.

It ends with tritonserver's exit code, 128 + N if signal N ended that.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (where Triton's Python backend puts its regions, by its own design)
NOT_STARTED = 127
# Triton counts its exit timeout in steps of a second, and then still has to unload.
GRACE = 5.0
_PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


@dataclass(frozen=True)
class Process:
    """One process of a group.

    Attributes:
        pid: its number.
        name: its command's name, cut by Linux to 15 characters.
        is_zombie: whether it has ended and its parent has not asked how.
    """

    pid: int
    name: str
    is_zombie: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a tritonserver until it ends, we get SIGTERM, or the process that asked for it is gone.

    Args:
        arguments: the command line without the program's name; the process's own by default.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--tell-pid-to", type=int, required=True)
    parser.add_argument("--exit-timeout", type=float, required=True)
    parser.add_argument("--shared-memory-prefix", required=True)
    parser.add_argument("--folder")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)

    asked_to_stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: asked_to_stop.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Stubs whose tritonserver is gone become our children: in a container nobody else may be there to reap them.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        # A group of its own: it gets no Ctrl-C of a terminal, and can be killed with its stubs but without us.
        server = subprocess.Popen(options.command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"cannot start {options.command[0]}: {error.strerror}", flush=True)
        remove_traces(options.shared_memory_prefix, options.folder)
        return NOT_STARTED
    # Blocked only now, so that the server does not inherit it; from here on sigtimedwait sees both.
    watched = {signal.SIGTERM, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    # The reader may be gone, and the pipe of our own output with it; neither may keep us from stopping the server.
    with contextlib.suppress(OSError):
        os.write(options.tell_pid_to, b"%d\n" % server.pid)
    os.close(options.tell_pid_to)

    while not asked_to_stop and server.poll() is None and os.getppid() == options.parent:
        caught = signal.sigtimedwait(watched, 0.5)
        if caught is not None and caught.si_signo == signal.SIGTERM:
            break
    code = stop(server, options.exit_timeout)
    remove_traces(options.shared_memory_prefix, options.folder)
    return code if code >= 0 else 128 - code


def stop(server: subprocess.Popen[bytes], exit_timeout: float) -> int:
    """End a tritonserver and all that it started.

    Args:
        server: the process, the first of its group.
        exit_timeout: seconds it gets to answer what is in flight, as it was told itself.

    Returns:
        Its exit code, negative if a signal ended it.
    """
    # To tritonserver alone: it stops its stubs when the last request is done.
    server.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(exit_timeout + GRACE)
    kill_group(server.pid)
    code = server.wait()
    _reap_orphans()
    return code


def kill_group(group: int) -> None:
    """Kill what is left of a process group, and wait until it is gone.

    Args:
        group: the group's number.
    """
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline:
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
        # A zombie answers to signals until its parent looks, which is for the caller to do.
        if all(member.is_zombie for member in group_members(group)):
            return
        time.sleep(0.02)


def _reap_orphans() -> None:
    """Wait for the stubs that became our children; a killed one is not gone before its last thread is."""
    deadline = time.monotonic() + GRACE
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.02)


def group_members(group: int) -> list[Process]:
    """All processes of a process group, zombies included.

    Args:
        group: the group's number, which is the pid of its first process.
    """
    members = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            stat = (folder / "stat").read_text(errors="replace")
        except OSError:  # it ended while we looked
            continue
        # pid (name) state ppid pgrp ...; the name may hold spaces and parentheses, so split at the last one.
        before, _, after = stat.rpartition(")")
        state, _, process_group = after.split()[:3]
        if int(process_group) == group:
            members.append(Process(int(folder.name), before.partition("(")[2], state in "ZX"))
    return members


def remove_traces(prefix: str, folder: str | None) -> None:
    """Remove what a server leaves when it is not stopped in peace.

    Args:
        prefix: how the names of its shared memory regions begin.
        folder: its temporary folder, if it has one.
    """
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            region.unlink()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
