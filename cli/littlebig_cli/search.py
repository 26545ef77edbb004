"""`littlebig search`: the pairs worth serving, from a folder of prediction tables."""

import datetime
import json
from dataclasses import asdict
from pathlib import Path

import click

from littlebig_calibration.errors import CalibrationError
from littlebig_calibration.evidence_json import write_text
from littlebig_calibration.search_plot import search_plot
from littlebig_calibration.searching import Option, SearchResult, read_folder, search
from littlebig_calibration.table import counted
from littlebig_cli.calibration_options import format_option
from littlebig_cli.failures import report_failures
from littlebig_cli.numbers import NumberRange
from littlebig_cli.rows import show_rows

COLUMNS = ("big", "little", "threshold", "escalated", "accuracy", "cost", "saved", "front")
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog="Example:  littlebig search predictions --costs costs.csv --labels labels.csv --plot front.svg")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--costs", required=True, type=FILE, help="A CSV of model,cost: the cost of an image, all in one unit.")
@click.option("--labels", type=FILE, help="A CSV of file,label. Needed if the tables have no labels.")
@click.option(
    "--max-accuracy-loss",
    type=NumberRange(0, 1, max_open=True),
    default=0.0,
    help="Accuracy that a cascade may lose against its big model on these images, as a fraction.",
)
@click.option("--cost-unit", default="GMACs", help="The costs' unit, for the plot.")
@click.option("--plot", type=FILE, help="Plot accuracy against cost into this SVG file.")
@format_option
@report_failures(CalibrationError)
def command(
    folder: Path,
    costs: Path,
    labels: Path | None,
    *,
    max_accuracy_loss: float,
    cost_unit: str,
    plot: Path | None,
    form: str,
) -> None:
    """Find the best companion of every model in FOLDER, a folder of prediction tables.

    Each cascade has the paper's threshold, the smallest that loses no accuracy on these images. A search compares many
    pairs, so its winner's figures are biased upwards: calibrate it before you serve it.
    """
    table, cost_of = read_folder(folder, labels, costs)
    result = search(table, cost_of, max_accuracy_loss)
    if plot is not None:
        write_text(search_plot(result, cost_unit, folder.absolute().name, datetime.date.today().isoformat()), plot)
    if form == "json":
        click.echo(json.dumps({"cost_unit": cost_unit, **asdict(result)}, indent=1))
        return
    best = {option.big: option for option in result.best}
    rows = [_row(option, single=True) for option in result.singles]
    rows += [_row(best[single.big]) for single in result.singles if single.big in best]
    shown = {(option.little, option.big) for option in (*result.singles, *result.best)}
    rows += [_row(option) for option in result.front if (option.little, option.big) not in shown]
    show_rows(COLUMNS, rows, form)
    if form == "table":
        click.echo(_summary(result))


def _row(option: Option, *, single: bool = False) -> dict[str, str]:
    return {
        "big": option.big,
        "little": option.little or "",
        "threshold": "" if option.threshold is None else f"{option.threshold:.4f}",
        "escalated": "" if single else f"{option.escalation_rate:.1%}",
        "accuracy": f"{option.accuracy:.2%}",
        "cost": f"{option.cost:.4g}",
        "saved": "" if single else f"{option.cost_reduction:.1%}",
        "front": "*" if option.on_front else "",
    }


def _summary(result: SearchResult) -> str:
    return (
        f"{counted(result.pairs, 'pair')} on {result.images:,} images. "
        f"* is on the Pareto front ({counted(len(result.front), 'option')}). "
        "Calibrate a pair before serving it."
    )
