"""A running tritonserver and its keeper: launched, waited for, ended."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import TextIO

from littlebig_server import keeper
from littlebig_server.installation import Installation
from littlebig_server.log import ServerLog
from littlebig_server.wheel import LaunchEnvironment, inherited_environment, prepare_wheel


class ServerProcess:
    """One tritonserver under its keeper.

    Attributes:
        pid: tritonserver's process id, which is also its process group's; None if it could not be started.
        log: its log.
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

    def end(self) -> int:
        """Stop tritonserver and remove its traces; returns its exit code, negative if a signal ended it."""
        if not self.has_ended():
            self._keeper.send_signal(signal.SIGTERM)
            if not self.wait(self._exit_timeout + 3 * keeper.GRACE):
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
