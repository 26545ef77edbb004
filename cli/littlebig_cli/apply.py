"""`littlebig apply`: write a calibration that was made elsewhere into a model repository."""

from pathlib import Path

import click

from littlebig_cli.failures import report_failures
from littlebig_export.applying import apply_calibration
from littlebig_export.errors import ExportError, RepositoryError


@click.command(epilog="Example:  littlebig apply calibration.json --repository /models")
@click.argument("calibration", type=click.Path(path_type=Path))
@click.option(
    "--repository",
    type=click.Path(path_type=Path),
    default=Path("build/model_repository"),
    help="The model repository to write it into.",
)
@click.option("--allow-big-only", is_flag=True, help="Accept a calibration of 'big only', which turns the cascade off.")
@report_failures(ExportError)
def command(calibration: Path, repository: Path, *, allow_big_only: bool) -> None:
    """Write a calibration into a model repository, which serves it from the server's next start on.

    CALIBRATION is a JSON file of `littlebig calibrate --output`. It is refused if it was made for other weights than
    the repository has.
    """
    try:
        text = calibration.read_text(encoding="utf-8")
    except (OSError, ValueError) as reason:
        raise RepositoryError(f"'{calibration}' cannot be read: {reason}") from None
    try:
        click.echo(apply_calibration(repository, text, allow_big_only=allow_big_only))
    except (ValueError, KeyError, TypeError):
        raise RepositoryError(f"'{calibration}' is not what 'littlebig calibrate --output' writes") from None
