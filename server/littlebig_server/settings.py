"""The options of a server, checked when they are set."""

from dataclasses import dataclass
from pathlib import Path

from littlebig_server.administration import check_restrictions, restricted_groups
from littlebig_server.errors import SettingsError

CONTROL_MODES = ("none", "poll", "explicit")
# Readiness, the printed endpoints and the stop depend on these, so each is set in one place only.
_OWN_OPTIONS = {
    "--http-address": "--http-host",
    "--grpc-address": "--host",
    "--metrics-address": "--metrics-host",
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
        host: IPv4 address, or a name that has one, on which gRPC listens.
        http_host: as `host`, for HTTP.
        metrics_host: as `host`, for the metrics.
        http_port: 1 to 65535, or 0 for a free one.
        grpc_port: as `http_port`.
        metrics_port: as `http_port`.
        model: the server is ready when this model is; empty for `classify`, or the stage of a repository with one.
        startup_timeout: seconds until it must be ready.
        exit_timeout: whole seconds for requests in flight when the server is stopped.
        model_control_mode: `none` (all models are loaded at the start), `poll`, or `explicit` (only those that
            `arguments` name with --load-model).
        open_administration: let clients load and unload models, register shared memory, and set traces and logs.
        client_shared_memory: let clients register shared memory, but nothing else of the administration.
        log_verbose: Triton's verbose level, 0 for none.
        log_file: also write the log there.
        arguments: further arguments of tritonserver, appended unchanged.

    Raises:
        SettingsError: for a value outside its range.
    """

    tritonserver: Path | None = None
    host: str = "127.0.0.1"
    http_host: str = "127.0.0.1"
    metrics_host: str = "127.0.0.1"
    http_port: int = 0
    grpc_port: int = 0
    metrics_port: int = 0
    model: str = ""
    startup_timeout: float = 120.0
    exit_timeout: int = 30
    model_control_mode: str = "none"
    open_administration: bool = False
    client_shared_memory: bool = False
    log_verbose: int = 0
    log_file: Path | None = None
    arguments: tuple[str, ...] = ()

    @property
    def control_arguments(self) -> tuple[str, ...]:
        """Arguments of tritonserver for its model control.

        Triton's own mode `none` refuses every later load, also that of a model whose process has died. Clients cannot
        load while the administration is closed.
        """
        given = {argument.partition("=")[0] for argument in self.arguments}
        if "--model-control-mode" in given:
            return ()  # the user decides
        if self.model_control_mode == "none":
            return ("--model-control-mode=explicit", *(() if "--load-model" in given else ("--load-model=*",)))
        return (f"--model-control-mode={self.model_control_mode}",)

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
        check_restrictions(
            self.arguments,
            restricted_groups(
                open_administration=self.open_administration, client_shared_memory=self.client_shared_memory
            ),
        )
        for argument in self.arguments:
            flag = argument.partition("=")[0]
            if flag in _OWN_OPTIONS:
                raise SettingsError(
                    f"{flag} is not passed on to tritonserver: use {_OWN_OPTIONS[flag]} of littlebig serve"
                )
            if flag in _ALWAYS_ON:
                raise SettingsError(f"{flag} is not passed on to tritonserver: HTTP, gRPC and metrics are always on")
