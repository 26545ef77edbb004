"""`littlebig predict`: both stages' answers for a labelled set, as a table to calibrate from."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from littlebig_calibration.errors import CalibrationError
from littlebig_calibration.labelled import find_labelled_images
from littlebig_calibration.predicting import Models, predict
from littlebig_calibration.remote import RemoteModels
from littlebig_calibration.served import ServedModels
from littlebig_cli.failures import Failure, missing_extra, report_failures
from littlebig_cli.progress import images_bar

REPOSITORY = Path("build/model_repository")


@click.command(epilog="Example:  littlebig predict --data imagenet/val --output predictions.parquet")
@click.option(
    "--repository",
    type=click.Path(path_type=Path),
    help=f"Run the graphs and preprocessing that 'littlebig export' wrote there.  [default: {REPOSITORY}]",
)
@click.option("--pair", metavar="NAME|FILE.toml", help="Export this pair first, for this run alone.")
@click.option("--url", metavar="HOST:PORT", help="Ask the models of a running server, over gRPC.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True),
    required=True,
    help="A folder with one folder per class, or a CSV of file,label with its files beside it or in 'images'; with "
    "--labels, the folder of all images.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Labels of a folder of images: a CSV of file,label, ImageNet's val.txt, or Kaggle's LOC_val_solution.csv.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The table, .parquet or .csv.",
)
@click.option("--data-set", help="The images' name in the evidence.  [default: the folder's]")
@report_failures(CalibrationError)
def command(
    repository: Path | None,
    pair: str | None,
    url: str | None,
    data: Path,
    labels: Path | None,
    output: Path,
    data_set: str | None,
) -> None:
    """Predict labelled images with both stages, through the graphs that are served.

    Interrupted, it goes on where it was when it is called again.
    """
    if sum(source is not None for source in (repository, pair, url)) > 1:
        raise click.UsageError("Give one of --repository, --pair and --url.")
    images = find_labelled_images(data, labels)
    models: Models
    if url is not None:
        models = RemoteModels(url)
    elif pair is not None:
        models = exported(pair)
    else:
        models = ServedModels(repository or REPOSITORY)
    name = data_set or (data.name if data.is_dir() else data.absolute().parent.name)
    with images_bar("images", len(images.files)) as advance:
        predict(models, images, output, data_set=name, progress=advance)
    click.echo(output)


def exported(pair: str) -> ServedModels:
    """A pair's models, exported for this process alone.

    Raises:
        Failure: if the pair cannot be exported.
    """
    # Imported late: a repository and a server need no PyTorch.
    try:
        from littlebig_export.errors import ExportError  # noqa: PLC0415
        from littlebig_export.exporting import export_pair  # noqa: PLC0415
        from littlebig_export.pair import load_pair  # noqa: PLC0415
    except ModuleNotFoundError as missing:
        raise Failure(missing_extra("predict --pair", "export", missing)) from missing

    with tempfile.TemporaryDirectory(prefix="littlebig-") as folder:
        repository = Path(folder) / "models"
        try:
            export_pair(load_pair(pair), "cpu", repository, tell=lambda line: click.echo(line, err=True))
        except ExportError as reason:
            raise Failure(str(reason)) from reason
        return ServedModels(repository)
