"""`littlebig preflight`: what a server needs, checked before it is started."""

from __future__ import annotations

from pathlib import Path

import click

from littlebig_cli.failures import report_failures
from littlebig_server import ServerError
from littlebig_server.preflight import LEAST_SHARED_MEMORY, preflight
from littlebig_server.queueing import standing_still


@click.command(epilog="Example:  littlebig preflight --repository /models --require-calibration")
@click.option(
    "--repository",
    type=click.Path(path_type=Path),
    default=Path("build/model_repository"),
    show_default=True,
    help="The model repository that is to be served.",
)
@click.option(
    "--require-calibration", is_flag=True, help="Refuse a threshold that does not come from a calibration in there."
)
@click.option(
    "--least-shared-memory",
    type=click.IntRange(min=0),
    metavar="MIB",
    default=LEAST_SHARED_MEMORY >> 20,
    show_default=True,
    help="What /dev/shm must hold.",
)
@report_failures(ServerError)
def command(repository: Path, require_calibration: bool, least_shared_memory: int) -> None:
    """Check the repository, its calibration and /dev/shm; exit with 1 and one line if a server would fail later.

    What would only be slow is told on stderr. Plans for this GPU are checked by `littlebig build`.
    """
    found = preflight(repository, require_calibration=require_calibration, least=least_shared_memory << 20)
    for line in standing_still(repository):
        click.echo(f"littlebig: warning: {line}", err=True)
    click.echo(found)
