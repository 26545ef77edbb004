"""`littlebig calibrate`: choose a pair's threshold from prediction tables, with evidence."""

from __future__ import annotations

from pathlib import Path

import click

from littlebig_calibration.calibrating import Settings, calibrate
from littlebig_calibration.certify import Promise
from littlebig_calibration.errors import CalibrationError, PairError
from littlebig_calibration.evidence import Costs, to_json, write_calibration
from littlebig_calibration.outcomes import GATES
from littlebig_calibration.reading import read_tables
from littlebig_calibration.report import write_report
from littlebig_calibration.summary import COLUMNS, rows, verdict
from littlebig_calibration.table import PredictionTable
from littlebig_calibration.tuning import Choices
from littlebig_cli.failures import Failure, report_failures
from littlebig_cli.rows import FORMATS, show_rows

FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog="Example:  littlebig calibrate ResNet50.csv ViT.csv --labels labels.csv --report report.html")
@click.argument("tables", nargs=-1, required=True, type=FILE)
@click.option("--labels", type=FILE, help="CSV of file,label; needed where the tables carry no labels.")
@click.option("--little", help="The little model's name in the tables. [default: the first model]")
@click.option("--big", help="The big model's name. [default: the second of two models]")
@click.option(
    "--rule",
    type=click.Choice(["certified", "paper"]),
    default="certified",
    show_default=True,
    help="certified: the promise below is proved. paper: the smallest threshold without loss here.",
)
@click.option(
    "--max-accuracy-loss",
    type=float,
    default=0.0,
    show_default=True,
    help="Tolerance against big, as a fraction.",
)
@click.option("--confidence-level", type=float, default=0.95, show_default=True, help="Of promise and intervals.")
@click.option("--max-escalation", type=float, help="A cost target instead: the best accuracy within this rate.")
@click.option(
    "--gate",
    type=click.Choice([*GATES, "auto"]),
    default="confidence",
    show_default=True,
    help="The score that is compared with the threshold. auto: what does better on a part of the labels.",
)
@click.option(
    "--answer",
    type=click.Choice(["big", "arbitrate"]),
    default="big",
    show_default=True,
    help="arbitrate: after big has run, little's answer stands where its logit leads by a tuned offset.",
)
@click.option("--cost-little", type=float, help="Cost of an image on little, in any unit.")
@click.option("--cost-big", type=float, help="Cost of an image on big, in the same unit.")
@click.option("--cost-unit", default="GMACs", show_default=True, help="The unit's name.")
@click.option("--classes", type=click.IntRange(min=2), help="How many classes there are, to check labels against.")
@click.option("--data-set", help="The images' name in the evidence. [default: from the table or label file]")
@click.option("--output", type=FILE, help="Write the calibration with its evidence, as JSON.")
@click.option(
    "--apply",
    "repository",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    metavar="DIR",
    help="Serve the choice: write threshold and evidence into this model repository. Refused for other weights.",
)
@click.option("--report", type=FILE, help="Write a report, one HTML file.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="To print.")
@report_failures(CalibrationError)
def command(
    tables: tuple[Path, ...],
    labels: Path | None,
    little: str | None,
    big: str | None,
    rule: str,
    max_accuracy_loss: float,
    confidence_level: float,
    max_escalation: float | None,
    gate: str,
    answer: str,
    cost_little: float | None,
    cost_big: float | None,
    cost_unit: str,
    classes: int | None,
    data_set: str | None,
    output: Path | None,
    repository: Path | None,
    report: Path | None,
    form: str,
) -> None:
    """Choose the threshold of a pair from labelled predictions.

    TABLES are CSV or Parquet files with the answers of one or more models: ours, or published ones with
    file_name,predicted_class,predicted_probability (the file's name is then the model's).
    """
    if (cost_little is None) != (cost_big is None):
        raise click.UsageError("--cost-little and --cost-big go together.")
    settings = Settings(
        rule=rule,
        promise=Promise(max_accuracy_loss, confidence_level),
        max_escalation=max_escalation,
        choices=Choices(GATES if gate == "auto" else (gate,), answer == "arbitrate"),
        costs=None if cost_little is None or cost_big is None else Costs(cost_little, cost_big, cost_unit),
    )
    table = read_tables(tables, labels, classes=classes, data_set=data_set)
    little, big = _pair(table, little, big)
    calibration = calibrate(table, little, big, settings)
    if output is not None:
        write_calibration(calibration, output)
    applied = None if repository is None else _apply(repository, to_json(calibration))
    if report is not None:
        write_report(calibration, table, report)
    if form == "json":
        click.echo(to_json(calibration), nl=False)
    else:
        show_rows(COLUMNS, rows(calibration), form)
    if form == "table":
        click.echo(verdict(calibration))
        for note in calibration.notes:
            click.echo(f"Note: {note}.")
    if applied is not None:
        click.echo(applied, err=True)


def _apply(repository: Path, text: str) -> str:
    # Imported late: calibrating needs nothing of the exporter.
    from littlebig_export.applying import apply_calibration  # noqa: PLC0415
    from littlebig_export.errors import ExportError  # noqa: PLC0415

    try:
        return apply_calibration(repository, text)
    except ExportError as reason:
        raise Failure(str(reason)) from reason


def _pair(table: PredictionTable, little: str | None, big: str | None) -> tuple[str, str]:
    """The two names: as told, or the first and second of exactly two models."""
    names = [model.name for model in table.models]
    if len(names) < 2:
        raise PairError(f"only '{names[0]}' has predictions here: a pair needs two models")
    if little is not None and big is not None:
        return little, big
    if len(names) > 2:
        raise PairError(f"the tables hold {len(names)} models ({', '.join(names)}): name two by --little and --big")
    if little is not None:
        return little, next((name for name in names if name != little), names[1])
    if big is not None:
        return next((name for name in names if name != big), names[0]), big
    return names[0], names[1]
