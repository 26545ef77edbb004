"""The options of a server, checked when they are set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from littlebig_server.errors import SettingsError

CONTROL_MODES = ("none", "poll", "explicit")
# Readiness, the printed endpoints and the stop depend on these, so each is set in one place only.
_OWN_OPTIONS = {
    "--http-address": "--host",
    "--grpc-address": "--host",
    "--metrics-address": "--host",
    "--http-port": "--http-port",
    "--grpc-port": "--grpc-port",
    "--metrics-port": "--metrics-port",
    "--exit-timeout-secs": "--exit-timeout",
}
_ALWAYS_ON = ("--allow-http", "--allow-grpc", "--allow-metrics")


@dataclass(frozen=True)
class ServerSettings:
    """How a tritonserver is found, started and stopped.

    Attributes:
        tritonserver: the binary; None to search for one (see `installation.py`).
        host: IPv4 address, or a name that has one, on which HTTP, gRPC and metrics listen.
        http_port: 1 to 65535, or 0 for a free one.
        grpc_port: as `http_port`.
        metrics_port: as `http_port`.
        model: the server is ready when this model is.
        startup_timeout: seconds until it must be ready.
        exit_timeout: whole seconds for requests in flight when the server is stopped.
        model_control_mode: `none` (load all models once), `poll` or `explicit`.
        log_verbose: Triton's verbose level, 0 for none.
        log_file: also write the log there.
        arguments: further arguments of tritonserver, appended unchanged.

    Raises:
        SettingsError: for a value outside its range.
    """

    tritonserver: Path | None = None
    host: str = "127.0.0.1"
    http_port: int = 0
    grpc_port: int = 0
    metrics_port: int = 0
    model: str = "classify"
    startup_timeout: float = 120.0
    exit_timeout: int = 30
    model_control_mode: str = "none"
    log_verbose: int = 0
    log_file: Path | None = None
    arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check every value."""
        for name in ("http_port", "grpc_port", "metrics_port"):
            if not 0 <= getattr(self, name) <= 65535:
                raise SettingsError(f"{name} is {getattr(self, name)}: choose 1 to 65535, or 0 for a free one")
        if not self.startup_timeout > 0:
            raise SettingsError(f"startup_timeout is {self.startup_timeout}: choose a number of seconds above 0")
        for name in ("exit_timeout", "log_verbose"):
            if getattr(self, name) < 0:
                raise SettingsError(f"{name} is {getattr(self, name)}: choose 0 or more")
        if self.model_control_mode not in CONTROL_MODES:
            raise SettingsError(
                f"model_control_mode is '{self.model_control_mode}': choose one of {', '.join(CONTROL_MODES)}"
            )
        for argument in self.arguments:
            flag = argument.partition("=")[0]
            if flag in _OWN_OPTIONS:
                raise SettingsError(
                    f"{flag} is not passed on to tritonserver: use {_OWN_OPTIONS[flag]} of littlebig serve"
                )
            if flag in _ALWAYS_ON:
                raise SettingsError(f"{flag} is not passed on to tritonserver: HTTP, gRPC and metrics are always on")
