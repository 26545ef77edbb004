"""Goes on from a labelled first pool: what it proved, and a fresh pool for the labels it left."""

from dataclasses import replace
from pathlib import Path

from littlebig_calibration.disagreements import Certificate, PoolChoice, certificate, outcome
from littlebig_calibration.errors import PairChoiceError, TableError
from littlebig_calibration.labelling.plan import Plan, draw_pool, next_plan, read_plan
from littlebig_calibration.labelling.writing import LIST, PLAN, TABLE
from littlebig_calibration.reading import read_tables
from littlebig_calibration.table import NO_LABEL, PredictionTable


def first_labels(table: PredictionTable, folder: Path) -> tuple[PredictionTable, Plan]:
    """The table with the labels of a labelled folder, and that folder's plan.

    Args:
        table: all predictions, those that the folder was made from.
        folder: what `littlebig label` wrote, its list filled in.

    Raises:
        TableError: if the folder is not a first one, or its files do not fit.
    """
    plan = read_plan(folder / PLAN)
    if plan.stage != 1:
        raise TableError(f"'{folder}' is a second list already: its labels and the first one's are all that count")
    labelled = read_tables([folder / TABLE], folder / LIST)
    labels = table.labels.copy()
    places = {file: place for place, file in enumerate(table.files)}
    for file, label in zip(labelled.files, labelled.labels.tolist(), strict=True):
        if label != NO_LABEL and file in places:
            labels[places[file]] = label
    return replace(table, labels=labels), plan


def proved(table: PredictionTable, plan: Plan) -> Certificate:
    """What the labels of a pool proved.

    Args:
        table: all predictions, with the labels.
        plan: the pool's plan.

    Raises:
        TableError: if labels at the start of the list are missing.
    """
    pool = draw_pool(table, plan)
    little, big = (table.model(name).label[pool.rows] for name in (plan.goal.little, plan.goal.big))
    outcomes = outcome(pool.order, little, big, table.labels[pool.rows])
    return certificate(pool.order, outcomes, pool.thresholds, pool.shares, plan.goal.max_accuracy_loss, plan.error_rate)


def second_plan(table: PredictionTable, plan: Plan) -> tuple[Plan, PoolChoice]:
    """Plan a pool of fresh images for the labels that the first list left.

    Args:
        table: all predictions, with the first labels.
        plan: the first plan.

    Raises:
        PairChoiceError: if a second pool promises nothing, with the reason.
        TableError: see `proved`.
    """
    found = proved(table, plan)
    left = plan.budget - found.labels_used
    if found.labels_ran_out:
        raise PairChoiceError("the walk has not ended yet: go on with the first list, whose next labels prove more")
    planned = next_plan(table, plan, found)
    if planned is None:
        fresh = len(table.files) - plan.planning - plan.images
        raise PairChoiceError(
            f"the first list left {left:,} labels and the table {fresh:,} fresh images: too few for a second pool; "
            "calibrate with the first list"
        )
    return planned
