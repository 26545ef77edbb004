"""`littlebig probe`: the startup, readiness and liveness probes of Kubernetes."""

from typing import Any

import click

from littlebig_cli.connection import add_connection_options
from littlebig_cli.failures import report_failures
from littlebig_cli.numbers import Number
from littlebig_client import ClientError, Probe
from littlebig_contract.stages import STAGES


@click.command(epilog="Example:  littlebig probe ready --url localhost:8001 --big optional")
@click.argument("state", metavar="startup|ready|live", type=click.Choice(["startup", "ready", "live"]))
@add_connection_options()
@click.option("--timeout", type=Number(), default=4.0, help="Limit of the whole probe, in seconds.")
@click.option(
    "--big",
    type=click.Choice(["required", "optional"]),
    default="required",
    help="Whether the probe fails without a working big stage.",
)
@click.option("--only", type=click.Choice(STAGES), help="The server has this stage alone (docs/remote.md).")
@report_failures(ClientError)
def command(*, state: str, connection: dict[str, Any], timeout: float, big: str, only: str | None) -> None:
    """Exit with 0 if a server is in the given state, else with 1 and the reason in one line.

    startup: the models are loaded. ready: little answers a blank image, and big answers one if it is required.
    live: no Python process is dead or hangs, which Triton's own health endpoint does not detect; a busy or stopping
    server passes.
    """
    with Probe(timeout=timeout, big_required=big == "required", only=only, **connection) as probe:
        {"startup": probe.startup, "ready": probe.ready, "live": probe.live}[state]()
