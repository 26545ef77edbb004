"""`littlebig calibrate`: choose a pair's threshold from prediction tables, with evidence."""

from pathlib import Path

import click

from littlebig_calibration.calibrating import CalibrationSettings, calibrate
from littlebig_calibration.certifying import Guarantee
from littlebig_calibration.errors import CalibrationError
from littlebig_calibration.evidence import Costs
from littlebig_calibration.evidence_json import to_json, write_text
from littlebig_calibration.labelling.names import read_names, repository_names
from littlebig_calibration.reading import read_tables
from littlebig_calibration.report import write_report
from littlebig_calibration.summary import COLUMNS, details, rows, verdict
from littlebig_calibration.tuning import TuningOptions
from littlebig_cli.calibration_options import (
    big_option,
    confidence_option,
    format_option,
    little_option,
    loss_option,
    pair_of,
)
from littlebig_cli.failures import Failure, report_failures
from littlebig_cli.numbers import Number
from littlebig_cli.renamed import renamed_option
from littlebig_cli.rows import show_rows
from littlebig_contract.scores import SCORES

REPOSITORY = Path("build/model_repository")
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog="Example:  littlebig calibrate ResNet50.csv ViT.csv --labels labels.csv --report report.html")
@click.argument("tables", nargs=-1, required=True, type=FILE)
@click.option(
    "--labels",
    type=FILE,
    help="A CSV of file,label, where the tables have no labels. It may lack images on which the models agree.",
)
@little_option
@big_option
@click.option(
    "--rule",
    type=click.Choice(["certified", "paper"]),
    default="certified",
    help="How to choose the threshold. certified: with a guarantee for new images. paper: the smallest one without "
    "loss on these images.",
)
@loss_option
@confidence_option
@click.option(
    "--max-escalation",
    type=Number(),
    help="A cost target instead of a rule: choose the best accuracy within this escalation rate, a fraction.",
)
@click.option(
    "--score",
    type=click.Choice([*SCORES, "auto"]),
    default="confidence",
    help="What the gate compares with the threshold. auto: confidence, or margin where the tuning images make a gain "
    "likely.",
)
@renamed_option("--gate", "use --score")
@click.option(
    "--answer",
    type=click.Choice(["big", "arbitrate"]),
    default="big",
    help="The answer for an escalated image. big: big's. arbitrate: little's where its logit leads by an "
    "offset, where the tuning images make a gain likely.",
)
@click.option("--cost-little", type=Number(), help="Cost of an image on little, in any unit.")
@click.option("--cost-big", type=Number(), help="Cost of an image on big, in the same unit.")
@click.option("--cost-unit", default="GMACs", help="The costs' unit, for output.")
@click.option("--classes", type=click.IntRange(min=2), help="Number of classes, to check labels against.")
@click.option("--data-set", help="The images' name in the evidence.  [default: from the tables, or the folder's]")
@click.option("--output", type=FILE, help="Write the calibration and its evidence to this JSON file.")
@click.option(
    "--apply",
    "repository",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    metavar="DIR",
    help="Write threshold and evidence into this model repository, so that it serves them. Refused for other weights.",
)
@click.option("--allow-big-only", is_flag=True, help="Let --apply write 'big only', which turns the cascade off.")
@click.option("--report", type=FILE, help="Write a report to this HTML file.")
@click.option(
    "--class-names",
    type=FILE,
    help="A text with one name a line, in the order of the classes, for the report.  [default: those of the repository "
    "given to --apply, or of build/model_repository, if it has the tables' weights]",
)
@format_option
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
    score: str,
    answer: str,
    cost_little: float | None,
    cost_big: float | None,
    cost_unit: str,
    classes: int | None,
    data_set: str | None,
    output: Path | None,
    repository: Path | None,
    allow_big_only: bool,
    report: Path | None,
    class_names: Path | None,
    form: str,
) -> None:
    """Choose the threshold of a pair from labelled predictions.

    Labels decide only where both models differ: images on which they agree need none.

    TABLES are CSV or Parquet files with the predictions of one or more models: those of `littlebig predict`, or
    published ones with file_name,predicted_class,predicted_probability, named after the model.
    """
    if (cost_little is None) != (cost_big is None):
        raise click.UsageError("--cost-little and --cost-big go together.")
    settings = CalibrationSettings(
        rule=rule,
        guarantee=Guarantee(max_accuracy_loss, confidence_level),
        max_escalation=max_escalation,
        tuning=TuningOptions(SCORES if score == "auto" else (score,), answer == "arbitrate"),
        costs=None if cost_little is None or cost_big is None else Costs(cost_little, cost_big, cost_unit),
    )
    table = read_tables(tables, labels, classes=classes, data_set=data_set)
    little, big = pair_of(table, little, big)
    calibration = calibrate(table, little, big, settings)
    if output is not None:
        write_text(to_json(calibration), output)
    if report is not None:
        names = read_names(class_names) if class_names else repository_names(repository or REPOSITORY, table)
        write_report(calibration, table, report, names)
    if form == "json":
        click.echo(to_json(calibration), nl=False)
    else:
        # On a terminal the bootstrap is a sentence: the table must fit 80 columns.
        columns = tuple(name for name in COLUMNS if form != "table" or name != "bootstrap")
        show_rows(columns, rows(calibration), form)
    if form == "table":
        for sentence in (verdict(calibration), *details(calibration)):
            click.echo(sentence)
        for note in calibration.notes:
            click.echo(f"Note: {note}.")
    if repository is not None:
        click.echo(_apply(repository, to_json(calibration), allow_big_only), err=True)


def _apply(repository: Path, text: str, allow_big_only: bool) -> str:
    # Imported here: only --apply needs the exporter.
    from littlebig_export.applying import apply_calibration  # noqa: PLC0415
    from littlebig_export.errors import ExportError  # noqa: PLC0415

    try:
        return apply_calibration(repository, text, allow_big_only=allow_big_only)
    except ExportError as reason:
        raise Failure(str(reason)) from reason
