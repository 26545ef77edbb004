"""Starts a tritonserver on a model repository, waits until it is ready, stops it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, TextIO

from littlebig_server.administration import Administration, restricted_groups
from littlebig_server.control import Control
from littlebig_server.diagnosis import aborted_on_late_stub, cause_of_end, lost_while_loading, taken_port
from littlebig_server.errors import ControlError, SettingsError, StartError
from littlebig_server.installation import find_tritonserver
from littlebig_server.log import KEPT_LINES
from littlebig_server.ports import NAMES, Addresses, Ports, choose_ports, port_taken, reachable, resolve_host
from littlebig_server.process import ServerProcess
from littlebig_server.readiness import NotReady, ReadinessPoller
from littlebig_server.repository import check_repository, entry_model
from littlebig_server.settings import ServerSettings

# A start is repeated if another process took a port before Triton bound it, or if Triton aborted over a model that was
# late on a busy machine.
_ATTEMPTS = 5
_CONFIG_SECONDS = 2.0


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
        """Keep the arguments; nothing is started yet.

        Args:
            repository: the model repository.
            settings: all other options; by default free ports of 127.0.0.1.
            on_log: called with each line of Triton's log, in a thread of its own.
        """
        self.repository = Path(repository)
        self.settings = settings or ServerSettings()
        self._on_log = on_log
        self._administration = Administration(())
        self._addresses = Addresses("", "", "")
        self._ports: Ports | None = None
        # Kept after the end, for its pid and its log.
        self._process: ServerProcess | None = None
        self._is_running = False
        self._model = ""

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
        return f"{reachable(self._addresses.grpc)}:{self._started.grpc}"

    @property
    def http_url(self) -> str:
        """HOST:PORT for tritonclient.http, which takes no http:// in front."""
        return f"{reachable(self._addresses.http)}:{self._started.http}"

    @property
    def metrics_url(self) -> str:
        """The complete URL of the Prometheus metrics."""
        return f"http://{reachable(self._addresses.metrics)}:{self._started.metrics}/metrics"

    @property
    def pid(self) -> int:
        """The process id of tritonserver, which is also its process group's."""
        if self._process is None or self._process.pid is None:
            raise StartError("the server has not been started: call start(), or use it in a with statement")
        return self._process.pid

    @property
    def keeper_pid(self) -> int:
        """The process id of the keeper, tritonserver's parent."""
        if self._process is None:
            raise StartError("the server has not been started: call start(), or use it in a with statement")
        return self._process.keeper_pid

    @property
    def administration_headers(self) -> Mapping[str, str]:
        """Headers of administrative calls with tritonclient.grpc: loads, shared memory, traces, log settings."""
        return self._administration.grpc_headers

    def log_tail(self, lines: int = KEPT_LINES) -> Sequence[str]:
        """The last lines of Triton's log, oldest first, also after a failed start and after the stop.

        Args:
            lines: how many at most; 5,000 are kept.
        """
        return self._process.log.tail(lines) if self._process else []

    def start(self) -> None:
        """Start tritonserver and wait until the model is ready.

        Raises:
            IncompleteRepositoryError: if the folder cannot be served.
            InstallationError: if there is no tritonserver, or something it needs is missing.
            PortError: if the host or a given port is not available.
            StartError: if tritonserver ended, or was not ready in time.
            SettingsError: if the log file cannot be written.
        """
        if self._is_running:
            raise StartError("the server is started already: stop it first, or make another one")
        settings = self.settings
        self._model = settings.model or entry_model(self.repository)
        check_repository(self.repository, self._model)
        self._addresses = Addresses(
            http=resolve_host(settings.http_host, "http"),
            grpc=resolve_host(settings.host, "grpc"),
            metrics=resolve_host(settings.metrics_host, "metrics"),
        )
        given = Ports(settings.http_port, settings.grpc_port, settings.metrics_port)
        for attempt in range(1, _ATTEMPTS + 1):
            self._ports = choose_ports(self._addresses, given)
            self._administration = Administration(
                restricted_groups(
                    open_administration=settings.open_administration, client_shared_memory=settings.client_shared_memory
                )
            )
            process = self._launch("w" if attempt == 1 else "a")
            try:
                not_ready = self._wait_until_ready(process)
            except BaseException:  # Ctrl-C too: leave nothing running
                self.stop()
                raise
            if not_ready is None:
                return
            code = self._end(process)
            log = self.log_tail() if not_ready.ended else ()
            port = taken_port(log)
            for name in NAMES:
                if port is not None and port == getattr(given, name):
                    raise port_taken(port, name)
            if attempt < _ATTEMPTS and (port is not None or aborted_on_late_stub(log)):
                continue
            if attempt == 1 and lost_while_loading(log):  # once: it may be the model's own fault
                continue
            reason = cause_of_end(code, log) if not_ready.ended else not_ready.reason
            raise StartError(f"tritonserver did not start: {reason}; full log: {self._log_place}")

    def stop(self) -> None:
        """Stop tritonserver: requests in flight get the exit timeout, then all its processes are killed.

        Does nothing if it is not running.
        """
        if self._process is not None and self._is_running:
            self._end(self._process)

    def wait(self, timeout: float | None = None) -> str | None:
        """Wait until the server ends by itself.

        Args:
            timeout: seconds; None for no limit.

        Returns:
            Why it ended, in one line; None if it still runs after the timeout, or was not running.
        """
        if self._process is None or not self._is_running or not self._process.wait(timeout):
            return None
        return cause_of_end(self._end(self._process), self.log_tail())

    def has_ended(self) -> bool:
        """Whether the server does not run, or has ended by itself."""
        return self._process is None or not self._is_running or self._process.has_ended()

    def kill(self) -> None:
        """Kill tritonserver and its model processes; `stop` cleans up."""
        if self._process is not None and self._is_running:
            self._process.kill()

    def load_again(self, model: str, timeout: float = 30.0) -> None:
        """Load a model again, of which a process has died, with the configuration that it has.

        Args:
            model: its name.
            timeout: seconds for each of two calls.

        Raises:
            ControlError: if the server refuses, or does not answer in time.
        """
        self._control.load_again(model, timeout)
        if self._process is not None:
            self._process.never_unloading += 1

    def big_timeout_s(self) -> float:
        """Seconds that the served gate waits for big's answer to a batch; 0 where there is no gate."""
        try:
            config = json.loads(self._control.call("GET", "/v2/models/little_big/config", None, _CONFIG_SECONDS))
            return float(config["parameters"]["big_timeout_ms"]["string_value"]) / 1e3
        except (ControlError, KeyError, ValueError):
            return 0.0

    def read_metrics(self, timeout: float = 2.0) -> str:
        """The page of Triton's metrics.

        Args:
            timeout: seconds.

        Raises:
            ControlError: if the server does not answer in time.
        """
        control = Control(reachable(self._addresses.metrics), self._started.metrics, {})
        return control.call("GET", "/metrics", None, timeout).decode(errors="replace")

    @property
    def _control(self) -> Control:
        return Control(reachable(self._addresses.http), self._started.http, self._administration.http_headers)

    @property
    def _started(self) -> Ports:
        if self._ports is None:
            raise StartError("the server has not been started: call start(), or use it in a with statement")
        return self._ports

    @property
    def _log_place(self) -> str:
        if self.settings.log_file is not None:
            return str(self.settings.log_file)
        return "above" if self._on_log is not None else "log_tail()"

    def _launch(self, log_mode: Literal["w", "a"]) -> ServerProcess:
        installation = find_tritonserver(self.settings.tritonserver)
        log_file = self._open_log_file(log_mode)
        try:
            process = ServerProcess(
                installation, self._arguments(self._started), self.settings.exit_timeout, log_file, self._on_log
            )
        except BaseException:
            if log_file is not None:
                log_file.close()
            raise
        self._process, self._is_running = process, True
        return process

    def _open_log_file(self, mode: Literal["w", "a"]) -> TextIO | None:
        file = self.settings.log_file
        try:
            return None if file is None else file.open(mode, encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"log file '{file}' cannot be written: {error.strerror}") from None

    def _arguments(self, ports: Ports) -> list[str]:
        settings = self.settings
        return [
            f"--model-repository={self.repository.absolute()}",
            f"--http-address={self._addresses.http}",
            f"--grpc-address={self._addresses.grpc}",
            f"--metrics-address={self._addresses.metrics}",
            f"--http-port={ports.http}",
            f"--grpc-port={ports.grpc}",
            f"--metrics-port={ports.metrics}",
            f"--exit-timeout-secs={settings.exit_timeout}",
            *settings.control_arguments,
            f"--log-verbose={settings.log_verbose}",
            # The pings of other servers that call a stage here: by default Triton closes such connections.
            "--grpc-http2-max-ping-strikes=0",
            # Every config.pbtxt is complete. To complete them, Triton would start each Python model's process twice.
            "--disable-auto-complete-config",
            *self._administration.arguments,
            *settings.arguments,
        ]

    def _wait_until_ready(self, process: ServerProcess) -> NotReady | None:
        if process.pid is None:
            process.wait()
            return NotReady("", ended=True)
        poller = ReadinessPoller(self._control, self._started, self._model)
        return poller.wait(process.pid, process.has_ended, self.log_tail, self.settings.startup_timeout)

    def _end(self, process: ServerProcess) -> int:
        self._is_running = False
        return process.end()
