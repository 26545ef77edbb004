"""A running tritonserver and its keeper: launched, waited for, ended."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from littlebig_server import keeper
from littlebig_server.diagnosis import models_to_unload
from littlebig_server.installation import Installation
from littlebig_server.log import ServerLog
from littlebig_server.stubs import State, state_of
from littlebig_server.wheel import LaunchEnvironment, inherited_environment, prepare_wheel

# Triton writes each second how many models it still unloads; the last requests have been answered by then. After a
# process of a model has died, one model never unloads. A Python model needs a second for each instance.
_STOP_POLL, _STOP_STALL, _STOP_LINES = 0.2, 4.0, 200


class ServerProcess:
    """One tritonserver under its keeper.

    Attributes:
        pid: tritonserver's process id, which is also its process group's; None if it could not be started.
        keeper_pid: the keeper's process id.
        log: its log.
        never_unloading: number of replaced models that will never unload, because a process of theirs has died.
        shared_memory: first characters of its regions' names in /dev/shm; no other server's begin with them.
    """

    def __init__(
        self,
        installation: Installation,
        arguments: Sequence[str],
        exit_timeout: int,
        log_file: TextIO | None = None,
        on_log: Callable[[str], None] | None = None,
    ) -> None:
        """Launch a tritonserver.

        Args:
            installation: the binary to run.
            arguments: its command line.
            exit_timeout: seconds that requests in flight get when it is ended.
            log_file: also write the log there; closed at its end.
            on_log: called with each line of the log, in a thread of its own.

        Raises:
            InstallationError: if something that the binary needs is missing.
        """
        self._exit_timeout = exit_timeout
        self.shared_memory = f"littlebig_{os.getpid()}_{secrets.token_hex(4)}_"
        self._environment: LaunchEnvironment = (
            prepare_wheel(installation.wheel) if installation.wheel else inherited_environment()
        )
        folder = self._environment.folder
        command = [
            *(sys.executable, "-I", "-S", keeper.__file__),
            f"--parent={os.getpid()}",
            f"--exit-timeout={exit_timeout}",
            f"--shared-memory-prefix={self.shared_memory}",
            *([f"--folder={folder}"] if folder else []),
        ]
        server = [
            str(installation.binary),
            *self._environment.arguments,
            f"--backend-config=python,shm-region-prefix-name={self.shared_memory}",
            *arguments,
        ]
        reading, writing = os.pipe()
        with os.fdopen(reading) as pid_pipe:
            try:
                self._keeper = subprocess.Popen(
                    [*command, f"--pid-fd={writing}", "--", *server],
                    env=dict(self._environment.variables),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    pass_fds=(writing,),
                    start_new_session=True,
                )
            except BaseException:
                self._environment.remove()
                raise
            finally:
                os.close(writing)
            assert self._keeper.stdout is not None  # noqa: S101  (it is a pipe)
            self.keeper_pid = self._keeper.pid
            self.never_unloading = 0
            self.log = ServerLog(self._keeper.stdout, log_file, on_log)
            self.pid: int | None = None
            try:
                self.pid = int(pid_pipe.readline() or 0) or None
            except BaseException:  # Ctrl-C while the keeper starts
                self.end()
                raise

    def has_ended(self) -> bool:
        """Whether tritonserver and its keeper have ended."""
        return self._keeper.poll() is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until tritonserver ends by itself; returns False if it still runs after `timeout` seconds."""
        try:
            self._keeper.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """Kill tritonserver and its model processes at once; a stopped keeper too, which cannot do it."""
        if self.pid is not None and not self.has_ended():
            keeper.kill_group(self.pid)
        if state_of(self.keeper_pid) is State.STOPPED:
            self._keeper.kill()

    def end(self) -> int:
        """Stop tritonserver and remove its traces; returns its exit code, negative if a signal ended it."""
        if not self.has_ended():
            self._keeper.send_signal(signal.SIGTERM)
            if not self._stops():
                self._keeper.kill()
                self._keeper.wait()
        code = self._keeper.returncode
        # A keeper that was killed has left this to us.
        if code == -signal.SIGKILL and self.pid is not None:
            keeper.kill_group(self.pid)
        keeper.remove_traces(self.shared_memory, None)
        self._environment.remove()
        self.log.finish()
        return 128 - code if code > 128 else code

    def _stops(self) -> bool:
        """Wait for the end after SIGTERM; kill a server that waits for nothing but models that never unload."""
        deadline = time.monotonic() + self._exit_timeout + 3 * keeper.GRACE
        before, since = None, time.monotonic()
        while not self.wait(_STOP_POLL):
            now = time.monotonic()
            left = models_to_unload(self.log.tail(_STOP_LINES))
            if left is None or left != before:
                before, since = left, now
            elif now - since > (_STOP_POLL if left <= self.never_unloading else _STOP_STALL) and self.pid is not None:
                keeper.kill_group(self.pid)
            if now > deadline:
                return False
        return True
