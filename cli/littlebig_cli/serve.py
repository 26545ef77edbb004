"""`littlebig serve`: serves a model repository with tritonserver until SIGTERM or Ctrl-C."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click

from littlebig_cli.failures import Failure, report_failures
from littlebig_cli.numbers import NumberRange
from littlebig_contract.provenance import ProvenanceError, read_provenance
from littlebig_server import ServerError, ServerSettings, TritonServer
from littlebig_server.queueing import stall_warnings
from littlebig_server.watch import Watch

PORT = click.IntRange(0, 65535)
DEFAULT = ServerSettings()


class StopRequest(BaseException):
    """SIGTERM or SIGINT arrived. Not an Exception, so that no handler takes it for a failure."""


@click.command(epilog="Example:  littlebig serve --pair efficientnet-lite --grpc-port 0")
@click.option(
    "--repository",
    type=click.Path(path_type=Path),
    default=Path("build/model_repository"),
    help="Model repository to serve.",
)
@click.option("--pair", metavar="NAME", help="Export this pair first if the repository does not exist.")
@click.option("--build", is_flag=True, help="First build the TensorRT engines that are missing for this GPU.")
@click.option(
    "--tritonserver",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="tritonserver binary.  [default: from PATH, NVIDIA's container, or nvidia-pytriton]",
)
@click.option("--host", default=DEFAULT.host, help="IPv4 address or name for gRPC; 0.0.0.0 for all.")
@click.option(
    "--http-host",
    default=DEFAULT.http_host,
    help="As --host, for HTTP, which a malformed request can crash: keep it from strangers.",
)
@click.option("--metrics-host", default=DEFAULT.metrics_host, help="As --host, for the metrics.")
@click.option("--http-port", type=PORT, default=8000, help="HTTP port; 0 for a free one.")
@click.option("--grpc-port", type=PORT, default=8001, help="gRPC port; 0 for a free one.")
@click.option("--metrics-port", type=PORT, default=8002, help="Metrics port; 0 for a free one.")
@click.option(
    "--startup-timeout",
    type=NumberRange(min=0, min_open=True),
    default=DEFAULT.startup_timeout,
    help="Seconds within which the server must be ready.",
)
@click.option(
    "--exit-timeout",
    type=click.IntRange(min=0),
    default=DEFAULT.exit_timeout,
    help="Seconds for requests in flight when the server is stopped.",
)
@click.option(
    "--client-shared-memory",
    is_flag=True,
    help="Let clients register system shared memory. Each of them can then read what others keep there.",
)
@click.option(
    "--open-admin",
    is_flag=True,
    help="Let clients load and unload models, register shared memory, and set traces and logs.",
)
@click.option(
    "--hang-timeout",
    type=NumberRange(min=0),
    default=5.0,
    help="Seconds without movement after which a Python model with waiting requests ends the server; 0 for never.",
)
@click.argument("triton_arguments", nargs=-1, metavar="[-- TRITON ARGS]")
@report_failures(ServerError)
def command(
    repository: Path,
    pair: str | None,
    build: bool,
    tritonserver: Path | None,
    host: str,
    http_host: str,
    metrics_host: str,
    http_port: int,
    grpc_port: int,
    metrics_port: int,
    startup_timeout: float,
    exit_timeout: int,
    client_shared_memory: bool,
    open_admin: bool,
    hang_timeout: float,
    triton_arguments: tuple[str, ...],
) -> None:
    """Serve a model repository with Triton until SIGTERM or Ctrl-C.

    Prints the endpoints to stdout when the model `classify` is ready; Triton's log goes to stderr. Loads a Python model
    again if its process dies or is stopped; exits with 1 if that fails or a model hangs. Arguments after
    `--` are passed to tritonserver unchanged.
    """
    settings = ServerSettings(
        tritonserver=tritonserver,
        host=host,
        http_host=http_host,
        metrics_host=metrics_host,
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        startup_timeout=startup_timeout,
        exit_timeout=exit_timeout,
        client_shared_memory=client_shared_memory,
        open_administration=open_admin,
        arguments=triton_arguments,
    )
    with contextlib.suppress(StopRequest), _signals_raise_stop_request():
        if pair is not None:
            _export_or_check(repository, pair)
        if build:
            _littlebig("build", "--repository", str(repository))
        for line in stall_warnings(repository):
            click.echo(f"littlebig: warning: {line}", err=True)
        with TritonServer(repository, settings, on_log=lambda line: click.echo(line, err=True)) as server:
            watch = Watch(server, lambda line: click.echo(f"littlebig: {line}", err=True), hang_timeout)
            for name, value in (
                ("gRPC", server.grpc_url),
                ("HTTP", f"http://{server.http_url}"),
                ("metrics", server.metrics_url),
                ("repository", str(repository)),
            ):
                click.echo(f"{name:<12}{value}")
            click.echo("stop with Ctrl-C")
            raise ServerError(f"{watch.run()}; full log: above")


@contextlib.contextmanager
def _signals_raise_stop_request() -> Iterator[None]:
    """Turn the first SIGTERM or SIGINT into a StopRequest; ignore later ones, which would disturb the stop."""

    def request_stop(_: int, __: FrameType | None) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        click.echo("littlebig: stopping", err=True)
        raise StopRequest

    before = {number: signal.signal(number, request_stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _export_or_check(repository: Path, pair: str) -> None:
    """Export the pair if the repository does not exist, otherwise check that it was made for this pair.

    Raises:
        Failure: if it was made for another or an unknown pair, or the export failed.
    """
    if pair.endswith(".toml"):
        raise Failure(f"--pair takes a shipped pair's name; for your own: littlebig export --pair {pair}, then serve")
    if not repository.exists():
        _littlebig("export", "--pair", pair, "--output", str(repository))
        return
    try:
        made_for = read_provenance(repository)["pair"]["name"]
    except ProvenanceError:
        raise Failure(
            f"'{repository}' names no pair (littlebig.json is missing or unreadable): leave out --pair to serve it as "
            "it is, or give another --repository"
        ) from None
    if made_for != pair:
        raise Failure(
            f"'{repository}' was made for the pair '{made_for}', not '{pair}': "
            f"give another --repository, or replace it with 'littlebig export --pair {pair} --output {repository}'"
        )


def _littlebig(*words: str) -> None:
    """Run another sub-command in its own process, so that its libraries (1 GB) are unloaded before the server starts.

    Raises:
        Failure: if it failed; its own message is on stderr.
    """
    # Its stdout goes to our stderr (2); our stdout is for the endpoints.
    with subprocess.Popen([sys.executable, "-m", "littlebig_cli", *words], stdout=2) as child:
        try:
            code = child.wait()
        except BaseException:
            child.terminate()
            raise
    if code:
        raise Failure(f"'littlebig {' '.join(words)}' failed, see above: fix it, or run it by itself")
