"""`littlebig probe`: what Kubernetes asks a server, as a command."""

from __future__ import annotations

from pathlib import Path

import click

from littlebig_cli.failures import report_failures
from littlebig_client import ClientError, Probe


@click.command(epilog="Example:  littlebig probe ready --url localhost:8001 --big optional")
@click.argument("state", metavar="startup|ready|live", type=click.Choice(["startup", "ready", "live"]))
@click.option("--url", default="localhost:8001", show_default=True, help="Triton's gRPC endpoint, host:port.")
@click.option("--timeout", default=4.0, show_default=True, help="Seconds for the whole probe.")
@click.option(
    "--big",
    type=click.Choice(["required", "optional"]),
    default="required",
    show_default=True,
    help="Whether a server whose big stage fails is ready.",
)
@click.option(
    "--tls-ca",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The authority of a server with TLS, as PEM.  [default: no TLS]",
)
@click.option("--tls-name", metavar="NAME", help="The name in the server's certificate.  [default: the url's]")
@report_failures(ClientError)
def command(*, state: str, url: str, timeout: float, big: str, tls_ca: Path | None, tls_name: str | None) -> None:
    """Exit with 0 if a server is in a state, with 1 and the reason in one line if not.

    startup: the models are loaded. ready: an image is really answered by little, and one by big if that
    is required. live: no Python process is dead or hangs, which Triton's own health does not tell; being busy or
    stopping is no failure.
    """
    with Probe(url, timeout, big_required=big == "required", tls_ca=tls_ca, tls_name=tls_name) as probe:
        {"startup": probe.startup, "ready": probe.ready, "live": probe.live}[state]()
