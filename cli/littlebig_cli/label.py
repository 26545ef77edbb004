"""`littlebig label`: choose which images to label for a certificate, and write a page to label them on."""

import shlex
import warnings
from collections.abc import Sequence
from pathlib import Path

import click

from littlebig_calibration.disagreements import EXPECTED_REACH
from littlebig_calibration.errors import CalibrationError, TableError
from littlebig_calibration.labelling.audits import is_audit_folder, read_audits
from littlebig_calibration.labelling.forecast import Forecast, forecast
from littlebig_calibration.labelling.names import number_of_classes, read_names, repository_names
from littlebig_calibration.labelling.page import shown_names
from littlebig_calibration.labelling.pictures import check_present
from littlebig_calibration.labelling.plan import Goal, Plan, draw_pool, make_plan
from littlebig_calibration.labelling.second_pool import first_labels, second_plan
from littlebig_calibration.labelling.writing import LIST, PAGE, TABLE, check_new, write_folder
from littlebig_calibration.reading import read_tables
from littlebig_calibration.table import PredictionTable, counted
from littlebig_cli.calibration_options import big_option, confidence_option, little_option, loss_option, pair_of
from littlebig_cli.failures import report_failures
from littlebig_cli.numbers import NumberRange
from littlebig_cli.progress import images_bar
from littlebig_cli.rows import show_rows
from littlebig_contract.scores import SCORES

FILE = click.Path(dir_okay=False, exists=True, path_type=Path)
TABLE_OR_AUDITS = click.Path(exists=True, path_type=Path)
REPOSITORY = Path("build/model_repository")
FOLDER = click.Path(file_okay=False, exists=True, path_type=Path)
# Tolerances for which the expected escalation is printed, beside the one asked for.
COMPARED = (0.0, 0.005, 0.01)


@click.command(
    epilog="Example:  littlebig label predictions.parquet --data photographs --budget 1000 --output labelling"
)
@click.argument("tables", nargs=-1, required=True, type=TABLE_OR_AUDITS)
@click.option("--data", type=FOLDER, help="The folder of the images, as given to predict. An audit folder has its own.")
@click.option(
    "--budget", type=click.IntRange(min=1), help="Number of labels that you can give. Required but with --after."
)
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="Write table, list and page into this new folder."
)
@little_option
@big_option
@click.option(
    "--score", type=click.Choice(SCORES), default="confidence", help="What the gate compares with the threshold."
)
@loss_option
@confidence_option
@click.option(
    "--expected-escalation",
    type=NumberRange(0, 1, max_open=True),
    default=EXPECTED_REACH,
    help="Escalation rate down to which the labels should last, a fraction.",
)
@click.option(
    "--class-names",
    type=FILE,
    help="A text with one name a line, in the order of the classes.  "
    f"[default: those of {REPOSITORY}, if it has the table's weights]",
)
@click.option(
    "--after",
    type=FOLDER,
    help="Spend the labels that this labelled folder left, on fresh images; its settings are kept.",
)
@report_failures(CalibrationError)
def command(
    tables: tuple[Path, ...],
    data: Path | None,
    budget: int | None,
    output: Path,
    little: str | None,
    big: str | None,
    score: str,
    max_accuracy_loss: float,
    confidence_level: float,
    expected_escalation: float,
    class_names: Path | None,
    after: Path | None,
) -> None:
    """Choose the images whose labels certify a threshold, and write a page to label them on.

    TABLES are predictions without labels, from `littlebig predict --unlabelled`, or the folder in which the gate keeps
    audits. Labels are needed only where the models differ. The output folder gets a page for a browser, the list as a
    CSV, and the table for `littlebig calibrate`.
    """
    check_new(output)
    table, data = _read(tables, data)
    if after is None:
        pair = pair_of(table, little, big)
        goal = Goal(
            little=pair[0],
            big=pair[1],
            score=score,
            max_accuracy_loss=max_accuracy_loss,
            confidence_level=confidence_level,
        )
        plan, choice = make_plan(table, goal, _needed(budget), reach=expected_escalation)
        plans = [plan]
    else:
        table, first = first_labels(table, after)
        plan, choice = second_plan(table, first)
        plans = [first, plan]
    names = read_names(class_names) if class_names else repository_names(REPOSITORY, table)
    shown = shown_names(names, number_of_classes(table, names))
    pool = draw_pool(table, plan)
    files = [table.files[row] for row in pool.to_label(table.labels, plan.budget)]
    check_present(data, files)
    with images_bar("pictures", len(files)) as advance, warnings.catch_warnings():
        # Pillow warns of large pictures and odd metadata. Neither keeps a picture from being shown.
        warnings.simplefilter("ignore")
        labels = write_folder(output, table, plans, data, shown, advance)
    click.echo(
        f"{len(table.files):,} images: {plan.planning:,} plan, {plan.images:,} are the pool; the models differ on "
        f"{pool.order.rows.size:,} of these.\n"
        f"{counted(labels, 'label')} to give; they reach down to an escalation rate of about {choice.deepest:.0%}."
    )
    if after is None:
        _show_forecasts(table, plan)
    if names is None:
        click.echo("Note: the classes' names are not known, so the page shows numbers: give them with --class-names.")
    click.echo(_next_steps(output, plan))


def _read(tables: Sequence[Path], data: Path | None) -> tuple[PredictionTable, Path]:
    """The predictions, and the folder of their pictures."""
    if len(tables) == 1 and is_audit_folder(tables[0]):
        return read_audits(tables[0]), tables[0]
    if any(path.is_dir() for path in tables):
        raise TableError(f"'{next(path for path in tables if path.is_dir())}' is a folder without a manifest of audits")
    if data is None:
        raise click.UsageError("Give --data, the folder of the images.")
    return read_tables(tables), data


def _needed(budget: int | None) -> int:
    if budget is None:
        raise click.UsageError("Give --budget, the number of labels that you can give.")
    return budget


def _show_forecasts(table: PredictionTable, plan: Plan) -> None:
    """What the budget probably buys, at the tolerance asked for and at others."""
    asked = plan.goal.max_accuracy_loss
    rows = []
    for tolerance in sorted({*COMPARED, asked}):
        found = forecast(table, plan, tolerance)
        rows.append(
            {
                "loss allowed": f"{tolerance:.2%}" + (" (asked)" if tolerance == asked else ""),
                "pool": "" if found is None else f"{found.images:,}",
                "expected escalation": "nothing certified" if found is None else _range(found),
            }
        )
    show_rows(("loss allowed", "pool", "expected escalation"), rows, "table")
    click.echo(
        "Expected escalation is a guess from both models' confidences: at its lower end little is right as often as it "
        "says, at its upper end it is overconfident."
    )


def _range(found: Forecast) -> str:
    low, high = (f"{rate:.0%}" if rate < 1 else "big only" for rate in (found.mild, found.harsh))
    return low if low == high else f"{low} to {high}"


def _next_steps(output: Path, plan: Plan) -> str:
    """What to do with the folder, as commands to copy."""
    goal = plan.goal
    words = ["littlebig", "calibrate", str(output / TABLE), "--labels", str(output / LIST)]
    if goal.score != "confidence":
        words += ["--score", goal.score]
    if goal.max_accuracy_loss:
        words += ["--max-accuracy-loss", f"{goal.max_accuracy_loss:g}"]
    if goal.confidence_level != 0.95:
        words += ["--confidence-level", f"{goal.confidence_level:g}"]
    return (
        f"Label: open {output / PAGE} in a browser, export, and put labels.csv into {output}.\n"
        f"Then:  {shlex.join(words)}"
    )
