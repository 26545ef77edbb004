"""Options that the commands about calibrations share, and the pair that they name."""

import click

from littlebig_calibration.errors import PairChoiceError
from littlebig_calibration.table import PredictionTable
from littlebig_cli.numbers import Number
from littlebig_cli.rows import FORMATS

little_option = click.option("--little", help="The little model's name in the tables.  [default: the first model]")
big_option = click.option("--big", help="The big model's name in the tables.  [default: the second of two models]")
loss_option = click.option(
    "--max-accuracy-loss",
    type=Number(),
    default=0.0,
    help="Accuracy that the cascade may lose against big, as a fraction: 0.01 is one percentage point.",
)
confidence_option = click.option(
    "--confidence-level",
    type=Number(),
    default=0.95,
    help="Probability with which the guarantee and each interval hold.",
)
format_option = click.option(
    "--format", "form", type=click.Choice(FORMATS), default="table", help="Format of the printed result."
)


def pair_of(table: PredictionTable, little: str | None, big: str | None) -> tuple[str, str]:
    """The names of little and big: as given, or the first and second of exactly two models.

    Raises:
        PairChoiceError: if they are not two models, or the tables have more and none is named.
    """
    names = [model.name for model in table.models]
    if len(names) < 2:
        raise PairChoiceError(f"only '{names[0]}' has predictions: a pair needs two models")
    if little is not None and little == big:
        raise PairChoiceError(f"'{little}' is named as little and as big: a pair needs two models")
    if little is not None and big is not None:
        return little, big
    if len(names) > 2:
        raise PairChoiceError(
            f"the tables have {len(names)} models ({', '.join(names)}): name two with --little and --big"
        )
    if little is not None:
        return little, next((name for name in names if name != little), names[1])
    if big is not None:
        return next((name for name in names if name != big), names[0]), big
    return names[0], names[1]
