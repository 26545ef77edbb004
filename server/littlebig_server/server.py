"""Starts a tritonserver on a model repository, waits until it can be asked, stops it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, TextIO

from littlebig_server import keeper
from littlebig_server.diagnosis import cause_of_end, gave_up_on_a_stub, taken_port
from littlebig_server.errors import SettingsError, StartError
from littlebig_server.installation import find_tritonserver
from littlebig_server.log import KEPT_LINES, ServerLog
from littlebig_server.ports import NAMES, Ports, choose_ports, resolve_host, taken
from littlebig_server.readiness import NotReady, Waiting
from littlebig_server.repository import check_repository
from littlebig_server.settings import ServerSettings
from littlebig_server.wheel import Surroundings, remove, surround, surroundings_of_a_complete_installation

# Another process may take a port between our choice and Triton's bind, and on a busy machine Triton may give up on a
# model that is only late; more often in a row than this it is no accident.
_ATTEMPTS = 5


class TritonServer:
    """A tritonserver that serves one model repository, from `start` to `stop`.

    Use it as a context manager. Leaving it stops the server with all its processes, and removes its shared memory and
    temporary files; so does the end of this process, even by SIGKILL.

    Example:
        with TritonServer("build/model_repository") as server:
            client = tritonclient.grpc.InferenceServerClient(server.grpc_url)
    """

    def __init__(
        self,
        repository: Path | str,
        settings: ServerSettings | None = None,
        *,
        on_log: Callable[[str], None] | None = None,
    ) -> None:
        """Remember what to start.

        Args:
            repository: the model repository.
            settings: everything else; by default on free ports of 127.0.0.1.
            on_log: called with each line of Triton's log, in a thread of ours.
        """
        self.repository = Path(repository)
        self.settings = settings or ServerSettings()
        self._on_log = on_log
        self._address = ""
        self._ports: Ports | None = None
        self._pid: int | None = None
        self._keeper: subprocess.Popen[str] | None = None
        self._log: ServerLog | None = None
        self._surroundings: Surroundings | None = None
        self._shared_memory = ""

    def __enter__(self) -> TritonServer:
        """Start, and wait until the model is ready; see `start`."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; see `stop`."""
        self.stop()

    @property
    def grpc_url(self) -> str:
        """HOST:PORT for tritonclient.grpc."""
        return f"{self._reachable}:{self._started.grpc}"

    @property
    def http_url(self) -> str:
        """HOST:PORT for tritonclient.http, which wants no http:// before it."""
        return f"{self._reachable}:{self._started.http}"

    @property
    def metrics_url(self) -> str:
        """The whole URL of the Prometheus metrics."""
        return f"http://{self._reachable}:{self._started.metrics}/metrics"

    @property
    def pid(self) -> int:
        """The process number of tritonserver, which is also its process group's."""
        if self._pid is None:
            raise StartError("the server has not been started: call start(), or use it in a with statement")
        return self._pid

    def log_tail(self, lines: int = KEPT_LINES) -> Sequence[str]:
        """The last lines of Triton's log, oldest first, also after a failed start and after the stop.

        Args:
            lines: how many at most; no more than 5,000 are kept.
        """
        return self._log.tail(lines) if self._log else []

    def start(self) -> None:
        """Start tritonserver and wait until the model is ready.

        Raises:
            RepositoryError: if the folder cannot be served.
            InstallationError: if there is no tritonserver, or something it needs is missing.
            PortError: if a given port or the host cannot be had.
            StartError: if tritonserver ended, or was not ready in time.
            SettingsError: if the log file cannot be written.
        """
        if self._keeper is not None:
            raise StartError("the server is started already: stop it first, or make another one")
        check_repository(self.repository, self.settings.model)
        self._address = resolve_host(self.settings.host)
        given = Ports(self.settings.http_port, self.settings.grpc_port, self.settings.metrics_port)
        for attempt in range(1, _ATTEMPTS + 1):
            self._ports = choose_ports(self._address, given)
            try:
                self._launch(self._ports, self._open_log_file("w" if attempt == 1 else "a"))
                trouble = self._wait()
            except BaseException:  # also Ctrl-C: nothing is left running
                self.stop()
                raise
            if trouble is None:
                return
            code = self._end()
            log = self.log_tail() if trouble.ended else ()
            port = taken_port(log)
            for name in NAMES:
                if port is not None and port == getattr(given, name):
                    raise taken(port, name)
            if attempt < _ATTEMPTS and (port is not None or gave_up_on_a_stub(log)):
                continue
            why = cause_of_end(code, self.log_tail()) if trouble.ended else trouble.why
            raise StartError(f"tritonserver did not start: {why}; full log: {self._log_place}")

    def stop(self) -> None:
        """Stop tritonserver: what is in flight gets the exit timeout, then it is killed with all its processes.

        Does nothing if it is not running.
        """
        self._end()

    def wait(self, timeout: float | None = None) -> str | None:
        """Wait until the server ends by itself.

        Args:
            timeout: seconds; None for ever.

        Returns:
            Why it ended, in one line; None if it still runs after the timeout, or was not running.
        """
        if self._keeper is None:
            return None
        try:
            self._keeper.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        return cause_of_end(self._end(), self.log_tail())

    @property
    def _started(self) -> Ports:
        if self._ports is None:
            raise StartError("the server has not been started: call start(), or use it in a with statement")
        return self._ports

    @property
    def _reachable(self) -> str:
        return "127.0.0.1" if self._address == "0.0.0.0" else self._address  # noqa: S104  (a comparison)

    @property
    def _log_place(self) -> str:
        if self.settings.log_file is not None:
            return str(self.settings.log_file)
        return "above" if self._on_log is not None else "log_tail()"

    def _open_log_file(self, mode: Literal["w", "a"]) -> TextIO | None:
        file = self.settings.log_file
        try:
            return None if file is None else file.open(mode, encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"log file '{file}' cannot be written: {error.strerror}") from None

    def _launch(self, ports: Ports, log_file: TextIO | None) -> None:
        installation = find_tritonserver(self.settings.tritonserver)
        self._surroundings = (
            surround(installation.wheel) if installation.wheel else surroundings_of_a_complete_installation()
        )
        # A name of our own, so that what a killed server leaves in /dev/shm can be told from other servers' regions.
        self._shared_memory = f"littlebig_{os.getpid()}_{secrets.token_hex(4)}_"
        command = [
            *(sys.executable, "-I", "-S", keeper.__file__),
            f"--parent={os.getpid()}",
            f"--exit-timeout={self.settings.exit_timeout}",
            f"--shared-memory-prefix={self._shared_memory}",
            *([f"--folder={self._surroundings.folder}"] if self._surroundings.folder else []),
        ]
        server = [str(installation.binary), *self._surroundings.arguments, *self._arguments(ports)]
        reading, writing = os.pipe()
        with os.fdopen(reading) as told:
            try:
                self._keeper = subprocess.Popen(
                    [*command, f"--tell-pid-to={writing}", "--", *server],
                    env=dict(self._surroundings.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    pass_fds=(writing,),
                    start_new_session=True,
                )
            finally:
                os.close(writing)
            assert self._keeper.stdout is not None  # noqa: S101  (it is a pipe)
            self._log = ServerLog(self._keeper.stdout, log_file, self._on_log)
            pid = told.readline()
        self._pid = int(pid) if pid else None

    def _arguments(self, ports: Ports) -> list[str]:
        settings = self.settings
        return [
            f"--model-repository={self.repository.absolute()}",
            f"--http-address={self._address}",
            f"--grpc-address={self._address}",
            f"--metrics-address={self._address}",
            f"--http-port={ports.http}",
            f"--grpc-port={ports.grpc}",
            f"--metrics-port={ports.metrics}",
            f"--exit-timeout-secs={settings.exit_timeout}",
            f"--model-control-mode={settings.model_control_mode}",
            f"--log-verbose={settings.log_verbose}",
            # Every config.pbtxt is complete. To look for what it might lack, Triton would load each Python model twice.
            "--disable-auto-complete-config",
            f"--backend-config=python,shm-region-prefix-name={self._shared_memory}",
            *settings.arguments,
        ]

    def _wait(self) -> NotReady | None:
        process = self._keeper
        assert process is not None  # noqa: S101  (it has just been launched)
        if self._pid is None:
            process.wait()
            return NotReady("", ended=True)
        waiting = Waiting(self._reachable, self._started, self.settings.model)
        return waiting.wait(self._pid, lambda: process.poll() is not None, self.log_tail, self.settings.startup_timeout)

    def _end(self) -> int:
        """Stop what runs, remove what it left; returns its exit code, negative if a signal ended it."""
        process = self._keeper
        if process is None:
            if self._surroundings is not None:
                remove(self._surroundings)
            return 0
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(self.settings.exit_timeout + 3 * keeper.GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        # The keeper has done this, unless it was killed itself.
        if process.returncode == -signal.SIGKILL and self._pid is not None:
            keeper.kill_group(self._pid)
        if self._surroundings is not None:
            folder = self._surroundings.folder
            keeper.remove_traces(self._shared_memory, str(folder) if folder else None)
        if self._log is not None:
            self._log.finish()
        self._keeper = None
        code = process.returncode
        return 128 - code if code > 128 else code
