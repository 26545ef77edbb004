"""`littlebig serve`: a tritonserver on a model repository, until Ctrl-C."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import click

from littlebig_cli.failures import Failure, report_failures
from littlebig_server import ServerError, ServerSettings, TritonServer
from littlebig_server.queueing import standing_still

PORT = click.IntRange(0, 65535)
DEFAULT = ServerSettings()


class StopAsked(BaseException):
    """SIGTERM or SIGINT: not an Exception, so that nothing on the way up takes it for a failure."""


@click.command(epilog="Example:  littlebig serve --pair efficientnet-lite --grpc-port 0")
@click.option(
    "--repository",
    type=click.Path(path_type=Path),
    default=Path("build/model_repository"),
    show_default=True,
    help="The model repository to serve.",
)
@click.option("--pair", metavar="NAME", help="Export this pair first if the repository does not exist yet.")
@click.option("--build", is_flag=True, help="First build the TensorRT engines that the repository lacks for this GPU.")
@click.option(
    "--tritonserver",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The binary.  [default: from PATH, NVIDIA's container, or nvidia-pytriton]",
)
@click.option("--host", default=DEFAULT.host, show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--http-port", type=PORT, default=8000, show_default=True, help="0 for a free one.")
@click.option("--grpc-port", type=PORT, default=8001, show_default=True, help="0 for a free one.")
@click.option("--metrics-port", type=PORT, default=8002, show_default=True, help="0 for a free one.")
@click.option(
    "--startup-timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT.startup_timeout,
    show_default=True,
    help="Seconds until the server must be ready.",
)
@click.option(
    "--exit-timeout",
    type=click.IntRange(min=0),
    default=DEFAULT.exit_timeout,
    show_default=True,
    help="Seconds that requests in flight get when the server is stopped.",
)
@click.argument("triton_arguments", nargs=-1, metavar="[-- TRITON ARGS]")
@report_failures(ServerError)
def command(
    repository: Path,
    pair: str | None,
    build: bool,
    tritonserver: Path | None,
    host: str,
    http_port: int,
    grpc_port: int,
    metrics_port: int,
    startup_timeout: float,
    exit_timeout: int,
    triton_arguments: tuple[str, ...],
) -> None:
    """Serve a model repository with Triton until SIGTERM or Ctrl-C.

    The endpoints are printed to stdout when the model `classify` is ready; Triton's log goes to stderr. What follows
    `--` is passed to tritonserver as it is.
    """
    settings = ServerSettings(
        tritonserver=tritonserver,
        host=host,
        http_port=http_port,
        grpc_port=grpc_port,
        metrics_port=metrics_port,
        startup_timeout=startup_timeout,
        exit_timeout=exit_timeout,
        arguments=triton_arguments,
    )
    with contextlib.suppress(StopAsked), _signals_ask_to_stop():
        if pair is not None:
            _provide(repository, pair)
        if build:
            _littlebig("build", "--repository", str(repository))
        for line in standing_still(repository):
            click.echo(f"littlebig: warning: {line}", err=True)
        with TritonServer(repository, settings, on_log=lambda line: click.echo(line, err=True)) as server:
            for name, value in (
                ("gRPC", server.grpc_url),
                ("HTTP", f"http://{server.http_url}"),
                ("metrics", server.metrics_url),
                ("repository", str(repository)),
            ):
                click.echo(f"{name:<12}{value}")
            click.echo("stop with Ctrl-C")
            raise ServerError(f"tritonserver (pid {server.pid}) ended by itself: {server.wait()}; full log: above")


@contextlib.contextmanager
def _signals_ask_to_stop() -> Iterator[None]:
    """Turn the first SIGTERM or SIGINT into StopAsked; later ones, impatience, do not disturb the stop it began."""

    def ask(number: int, _: FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        click.echo("littlebig: stopping", err=True)
        raise StopAsked

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _provide(repository: Path, pair: str) -> None:
    """Export the pair if the repository does not exist, or check that the existing one was made for it.

    Raises:
        Failure: if it was made for another pair, does not say, or the export failed.
    """
    if pair.endswith(".toml"):
        raise Failure(f"--pair takes a shipped pair's name; for your own: littlebig export --pair {pair}, then serve")
    if not repository.exists():
        _littlebig("export", "--pair", pair, "--target", "cpu", "--output", str(repository))
        return
    note = repository / "littlebig.json"
    try:
        made_for = json.loads(note.read_text())["pair"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        raise Failure(
            f"'{repository}' does not say which pair it was made for (no littlebig.json in it, or not ours): "
            "leave out --pair to serve it as it is, or give another --repository"
        ) from None
    if made_for != pair:
        raise Failure(
            f"'{repository}' was made for the pair '{made_for}', not '{pair}': "
            f"give another --repository, or replace it with 'littlebig export --pair {pair} --output {repository}'"
        )


def _littlebig(*words: str) -> None:
    """Run another sub-command in a process of its own: its gigabyte of libraries is gone before the server starts.

    Raises:
        Failure: if it failed; it has said why on stderr.
    """
    # Its stdout to our stderr (2): ours is for the endpoints.
    with subprocess.Popen([sys.executable, "-m", "littlebig_cli", *words], stdout=2) as child:
        try:
            code = child.wait()
        except BaseException:
            child.terminate()
            raise
    if code:
        raise Failure(f"'littlebig {' '.join(words)}' failed, see above: mend it, or run it by itself")
