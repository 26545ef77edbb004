"""`littlebig predict`: both stages' answers for a labelled set, as a table to calibrate from."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from littlebig_calibration.errors import CalibrationError
from littlebig_calibration.labelled import find_labelled_images
from littlebig_calibration.predicting import predict
from littlebig_calibration.served import ServedModels
from littlebig_cli.failures import told_in_one_line


@click.command(epilog="Example:  littlebig predict --data imagenet/val --output predictions.parquet")
@click.option(
    "--repository",
    type=click.Path(path_type=Path),
    default=Path("build/model_repository"),
    show_default=True,
    help="Whose graphs and preprocessing to run: what 'littlebig export' wrote.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="A folder with one folder per class, or a CSV of file,label with its files beside it or in 'images'.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The table, .parquet or .csv.",
)
@click.option("--data-set", help="The images' name in the evidence.  [default: the folder's]")
@told_in_one_line(CalibrationError)
def command(repository: Path, data: Path, output: Path, data_set: str | None) -> None:
    """Predict labelled images with both stages of a repository, through the graphs that are served.

    Interrupted, it goes on where it was when it is called again.
    """
    images = find_labelled_images(data)
    models = ServedModels(repository)
    name = data_set or (data.name if data.is_dir() else data.absolute().parent.name)
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("images", total=len(images.files))
        predict(models, images, output, data_set=name, progress=lambda done: bar.advance(task, done))
    click.echo(output)
