"""`littlebig reproduce`: measures the paper's table on ImageNet's validation images."""

from pathlib import Path

import click

from littlebig_calibration.errors import CalibrationError
from littlebig_calibration.evidence import Costs
from littlebig_calibration.labelled import LabelledImages, find_labelled_images
from littlebig_calibration.predicting import predict
from littlebig_calibration.reproducing import COLUMNS, PUBLISHED, compare
from littlebig_calibration.served import ServedModels
from littlebig_cli.failures import Failure, report_failures
from littlebig_cli.progress import images_bar
from littlebig_cli.rows import FORMATS, show_rows
from littlebig_export.errors import ExportError
from littlebig_export.pair import load_pair
from littlebig_export.provenance import is_current


@click.command(epilog="Example:  littlebig reproduce --imagenet imagenet/val --output build/reproduce")
@click.option(
    "--imagenet",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    required=True,
    help="Folder of the validation images: one folder per synset, or all images and --labels.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="File with the labels of images in one folder: val.txt, LOC_val_solution.csv, or a CSV of file,label.",
)
@click.option(
    "--pair",
    "pairs",
    multiple=True,
    metavar="NAME|FILE.toml",
    help=f"Measure this pair alone; may be repeated.  [default: {', '.join(PUBLISHED)}]",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("build/reproduce"),
    help="Folder for exported pairs and predictions; a second call reuses what it holds.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice([form for form in FORMATS if form != "json"]),
    default="table",
    help="Format of the printed table.",
)
@report_failures(CalibrationError)
def command(imagenet: Path, labels: Path | None, pairs: tuple[str, ...], output: Path, form: str) -> None:
    """Predict and calibrate the paper's pairs, and print published beside measured reductions of multiply-accumulates.

    50,000 images through models of up to 191 GMACs take hours on a GPU and weeks on a CPU. A pair that fails is
    reported, the others are measured, and the exit code is 1.
    """
    images = find_labelled_images(imagenet, labels)
    rows, failed = [], False
    for name in pairs or tuple(PUBLISHED):
        try:
            rows.append(_measured(name, images, imagenet.name, output))
        except (CalibrationError, ExportError) as reason:
            failed = True
            click.echo(f"littlebig: {name}: {reason}", err=True)
    if not rows:
        raise Failure("none of the pairs could be measured")
    show_rows(COLUMNS, rows, form)
    if failed:
        raise click.exceptions.Exit(1)


def _measured(name: str, images: LabelledImages, data_set: str, output: Path) -> dict[str, str]:
    # torch takes seconds to import, and the help does not need it.
    from littlebig_export.costs import pair_costs  # noqa: PLC0415
    from littlebig_export.exporting import export_pair  # noqa: PLC0415

    pair = load_pair(name)
    folder = output / pair.name
    repository = folder / "models"
    if not is_current(repository, pair.name, "cpu"):
        export_pair(pair, "cpu", repository, report=lambda line: click.echo(line, err=True))
    with images_bar(pair.name, len(images.files)) as advance:
        table = predict(
            ServedModels(repository), images, folder / "predictions.parquet", data_set=data_set, progress=advance
        )
    little, big = ((stage.macs + stage.resampling_macs) / 1e9 for stage in pair_costs(pair)[0])
    return compare(pair.name, table, Costs(little, big, "GMACs"))
