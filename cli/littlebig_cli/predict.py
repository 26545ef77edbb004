"""`littlebig predict`: both stages' predictions for images, labelled or not, as a table to calibrate or label from."""

import os
import tempfile
from pathlib import Path
from typing import Any

import click

import littlebig_client
from littlebig_calibration.errors import CalibrationError
from littlebig_calibration.labelled import find_images, find_labelled_images
from littlebig_calibration.predicting import Models, predict
from littlebig_calibration.remote import RemoteModels
from littlebig_calibration.served import ServedModels
from littlebig_cli.connection import add_connection_options, given_connection
from littlebig_cli.failures import Failure, missing_extra, report_failures
from littlebig_cli.labels_option import labels_option
from littlebig_cli.progress import images_bar

REPOSITORY = Path("build/model_repository")


@click.command(epilog="Example:  littlebig predict --data imagenet/val --output predictions.parquet")
@click.option(
    "--repository",
    type=click.Path(path_type=Path),
    help=f"Run the graphs and preprocessing of this model repository.  [default: {REPOSITORY}]",
)
@click.option("--pair", metavar="NAME|FILE.toml", help="Export this pair to a temporary folder and run it.")
@add_connection_options("Ask a running server over gRPC, host:port.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="A folder with one folder per class; or a CSV of file,label, with the files beside it or in 'images'; or, "
    "with --labels, one folder of images.",
)
@labels_option
@click.option("--unlabelled", is_flag=True, help="Take all pictures of the folder, at any depth, without labels.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Write the table to this file, .parquet or .csv.",
)
@click.option("--data-set", help="The images' name in the evidence.  [default: the folder's]")
@report_failures(CalibrationError, littlebig_client.ClientError)
def command(
    repository: Path | None,
    pair: str | None,
    connection: dict[str, Any],
    data: Path,
    labels: Path | None,
    unlabelled: bool,
    output: Path,
    data_set: str | None,
) -> None:
    """Predict images with both stages, using the graphs and preprocessing that are served.

    A table without labels is for `littlebig label`, which says which images need one. The same call resumes an
    interrupted run.
    """
    running = given_connection(connection)
    if sum(source is not None for source in (repository, pair, running)) > 1:
        raise click.UsageError("Give one of --repository, --pair and --url.")
    if unlabelled and labels is not None:
        raise click.UsageError("Give --labels or --unlabelled, not both.")
    images = find_images(data) if unlabelled else find_labelled_images(data, labels)
    models: Models
    if running is not None:
        models = RemoteModels(running.url, running.open)
    elif pair is not None:
        models = export_models(pair)
    else:
        models = ServedModels(repository or REPOSITORY)
    name = data_set or (data.name if data.is_dir() else data.absolute().parent.name)
    with images_bar("images", len(images.files)) as advance:
        predict(models, images, output, data_set=name, progress=advance)
    click.echo(os.fsencode(output))


def export_models(pair: str) -> ServedModels:
    """Export a pair to a temporary folder and open its models.

    Raises:
        Failure: if the pair cannot be exported.
    """
    # Imported here: only --pair needs PyTorch.
    try:
        from littlebig_export.errors import ExportError  # noqa: PLC0415
        from littlebig_export.exporting import export_pair  # noqa: PLC0415
        from littlebig_export.pair import load_pair  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise Failure(missing_extra("predict --pair", "export", missing)) from missing

    with tempfile.TemporaryDirectory(prefix="littlebig-") as folder:
        repository = Path(folder) / "models"
        try:
            export_pair(load_pair(pair), "cpu", repository, report=lambda line: click.echo(line, err=True))
        except ExportError as reason:
            raise Failure(str(reason)) from reason
        return ServedModels(repository)
