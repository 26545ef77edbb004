"""`littlebig playground`: a page in the browser beside a running server."""

import contextlib
import signal
import webbrowser
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from littlebig_cli.connection import add_connection_options
from littlebig_cli.failures import Failure, report_failures
from littlebig_cli.measured import export_default_pair
from littlebig_client import Client, ClientError
from littlebig_playground import Cascade, Load, PortTaken, create_app, serve_page

# The page itself asks again, and says why it has to.
_CONNECT_SECONDS = 2.0


@click.command(epilog="Example:  littlebig playground --url localhost:8001 --open")
@add_connection_options()
@click.option("--metrics-url", metavar="HOST:PORT", default="localhost:8002", help="Triton's metrics, host:port.")
@click.option("--serve", is_flag=True, help="Serve --repository meanwhile, instead of asking a running server.")
@click.option(
    "--repository",
    type=click.Path(path_type=Path),
    default=Path("build/model_repository"),
    help="With --serve: what to serve. The default pair is exported if there is none.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, help="Of the page; 0 for a free one.")
@click.option("--open", "open_browser", is_flag=True, help="Open the page in the browser.")
@report_failures(ClientError, PortTaken)
def command(
    *, connection: dict[str, Any], metrics_url: str, serve: bool, repository: Path, port: int, open_browser: bool
) -> None:
    """Try pictures on a page in the browser, move the threshold and watch the load, until Ctrl-C.

    The page is served on 127.0.0.1 alone and stores nothing.
    """
    if serve and connection["url"] is not None:
        raise click.UsageError("--serve and --url exclude each other: ask a running server, or serve one meanwhile")
    # uvicorn repeats a signal when it has stopped: both mean the same quiet end, with a server of ours stopped too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (
        contextlib.suppress(KeyboardInterrupt),
        _served(repository) if serve else contextlib.nullcontext((connection["url"], metrics_url)) as (url, metrics),
        Client(**{**connection, "url": url}, connect_timeout=_CONNECT_SECONDS, retry_for=0) as client,
    ):
        serve_page(create_app(Cascade(client), Load(metrics)), port, partial(_announce, open_browser))


def _announce(open_browser: bool, address: str) -> None:
    click.echo(f"the playground is at {address} (Ctrl-C stops it)")
    if open_browser:
        webbrowser.open(address)


@contextlib.contextmanager
def _served(repository: Path) -> Iterator[tuple[str, str]]:
    # A page beside a running server needs none of the extras that serving needs.
    from littlebig_server import ServerError, TritonServer  # noqa: PLC0415

    if not repository.exists():
        export_default_pair(repository)
    try:
        with TritonServer(repository) as server:
            yield server.grpc_url, server.metrics_url.removeprefix("http://").removesuffix("/metrics")
    except ServerError as failure:
        raise Failure(str(failure)) from failure
