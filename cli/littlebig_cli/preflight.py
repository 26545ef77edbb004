"""`littlebig preflight`: checks what a server needs, before it is started."""

from pathlib import Path

import click

from littlebig_cli.failures import report_failures
from littlebig_server import ServerError
from littlebig_server.preflight import LEAST_SHARED_MEMORY, preflight
from littlebig_server.queueing import stall_warnings


@click.command(epilog="Example:  littlebig preflight --repository /models --require-calibration")
@click.option(
    "--repository",
    type=click.Path(path_type=Path),
    default=Path("build/model_repository"),
    help="Model repository to check.",
)
@click.option(
    "--require-calibration",
    is_flag=True,
    help="Reject a threshold that does not come from the repository's own calibration.",
)
@click.option(
    "--least-shared-memory",
    type=click.IntRange(min=0),
    metavar="MIB",
    default=LEAST_SHARED_MEMORY >> 20,
    help="Smallest size of /dev/shm.",
)
@report_failures(ServerError)
def command(repository: Path, require_calibration: bool, least_shared_memory: int) -> None:
    """Check the repository, its calibration and /dev/shm; exit with 1 and one line if a server would fail.

    Warns on stderr of configurations that are only slow. `littlebig build` checks the plans for this GPU.
    """
    summary = preflight(repository, require_calibration=require_calibration, least=least_shared_memory << 20)
    for line in stall_warnings(repository):
        click.echo(f"littlebig: warning: {line}", err=True)
    click.echo(summary)
