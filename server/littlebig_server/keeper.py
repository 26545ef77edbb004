"""Runs a tritonserver and cleans up after it, however the process that started it ends.

Run as a script between the two:  python keeper.py OPTIONS -- tritonserver ARGUMENTS

It is a process of its own because a process that is killed with SIGKILL cannot clean up. Linux's parent-death signal
does not replace it: that fires when the *thread* that started the child ends, and reaches tritonserver but not its
stubs (the processes of Python models). As a script it imports the standard library only.

It exits with tritonserver's exit code, or with 128 + N if signal N ended tritonserver.
"""

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

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  (where Triton's Python backend creates its regions)
NOT_STARTED = 127
# Seconds beyond the exit timeout: Triton counts that timeout in whole seconds, and then unloads its models.
GRACE = 5.0
_PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


@dataclass(frozen=True)
class Process:
    """One process of a group.

    Attributes:
        pid: its process id.
        name: its command's name, cut to 15 characters by Linux.
        is_zombie: whether it has ended and was not yet waited for.
    """

    pid: int
    name: str
    is_zombie: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a tritonserver until it ends, SIGTERM arrives, or the parent process ends.

    Args:
        arguments: the command line without the program's name; the process's own by default.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--pid-fd", type=int, required=True)
    parser.add_argument("--exit-timeout", type=float, required=True)
    parser.add_argument("--shared-memory-prefix", required=True)
    parser.add_argument("--folder")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)

    stop_requests: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stop_requests.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Stubs that outlive tritonserver become our children. In a container no other process may reap them.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        # In its own group it gets no Ctrl-C from a terminal, and can be killed together with its stubs.
        server = subprocess.Popen(options.command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"cannot start {options.command[0]}: {error.strerror}", flush=True)
        remove_traces(options.shared_memory_prefix, options.folder)
        return NOT_STARTED
    # Blocked after the start, so that the server does not inherit it; from here on sigtimedwait sees both signals.
    watched = {signal.SIGTERM, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    # The parent may already have ended and closed the other end of this pipe; the server must still be stopped.
    with contextlib.suppress(OSError):
        os.write(options.pid_fd, b"%d\n" % server.pid)
    os.close(options.pid_fd)

    while not stop_requests and server.poll() is None and os.getppid() == options.parent:
        caught = signal.sigtimedwait(watched, 0.5)
        if caught is not None and caught.si_signo == signal.SIGTERM:
            break
    code = stop(server, options.exit_timeout)
    remove_traces(options.shared_memory_prefix, options.folder)
    return code if code >= 0 else 128 - code


def stop(server: subprocess.Popen[bytes], exit_timeout: float) -> int:
    """End a tritonserver and all of its stubs.

    Args:
        server: the process, which leads its group.
        exit_timeout: seconds for the requests in flight, as tritonserver has it too.

    Returns:
        Its exit code, negative if a signal ended it.
    """
    # Signal tritonserver alone: it stops its stubs after the last request.
    server.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(exit_timeout + GRACE)
    kill_group(server.pid)
    code = server.wait()
    _reap_orphans()
    return code


def kill_group(group: int) -> None:
    """Kill what is left of a process group, and wait until it has ended.

    Args:
        group: the group's id.
    """
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline:
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
        # Zombies still accept signals; their parent has to wait for them.
        if all(member.is_zombie for member in group_members(group)):
            return
        time.sleep(0.02)


def _reap_orphans() -> None:
    """Wait for the stubs that became our children; a killed process exists until its last thread has ended."""
    deadline = time.monotonic() + GRACE
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.02)


def group_members(group: int) -> list[Process]:
    """All processes of a process group, zombies included.

    Args:
        group: the group's id, which is the pid of its leader.
    """
    members = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            stat = (folder / "stat").read_text(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        # pid (name) state ppid pgrp ...; the name may hold spaces and parentheses, so split at the last one.
        before, _, after = stat.rpartition(")")
        state, _, process_group = after.split()[:3]
        if int(process_group) == group:
            members.append(Process(int(folder.name), before.partition("(")[2], state in "ZX"))
    return members


def remove_traces(prefix: str, folder: str | None) -> None:
    """Remove what a server leaves behind when it is killed.

    Args:
        prefix: first characters of its shared memory regions' names.
        folder: its temporary folder, if it has one.
    """
    for region in SHARED_MEMORY.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            region.unlink()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    raise SystemExit(main())
