"""`littlebig probe`: the startup, readiness and liveness probes of Kubernetes."""

from __future__ import annotations

from pathlib import Path

import click

from littlebig_cli.failures import report_failures
from littlebig_client import ClientError, Probe


@click.command(epilog="Example:  littlebig probe ready --url localhost:8001 --big optional")
@click.argument("state", metavar="startup|ready|live", type=click.Choice(["startup", "ready", "live"]))
@click.option("--url", default="localhost:8001", show_default=True, help="Triton's gRPC endpoint, host:port.")
@click.option("--timeout", default=4.0, show_default=True, help="Limit of the whole probe, in seconds.")
@click.option(
    "--big",
    type=click.Choice(["required", "optional"]),
    default="required",
    show_default=True,
    help="Whether the probe fails without a working big stage.",
)
@click.option(
    "--tls-ca",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="PEM file with the authority of the server's certificate.  [default: no TLS]",
)
@click.option("--tls-name", metavar="NAME", help="Host name in the server's certificate.  [default: the url's host]")
@report_failures(ClientError)
def command(*, state: str, url: str, timeout: float, big: str, tls_ca: Path | None, tls_name: str | None) -> None:
    """Exit with 0 if a server is in the given state, else with 1 and the reason in one line.

    startup: the models are loaded. ready: little answers a blank image, and big answers one if it is required.
    live: no Python process is dead or hangs, which Triton's own health endpoint does not detect; a busy or stopping
    server passes.
    """
    with Probe(url, timeout, big_required=big == "required", tls_ca=tls_ca, tls_name=tls_name) as probe:
        {"startup": probe.startup, "ready": probe.ready, "live": probe.live}[state]()
