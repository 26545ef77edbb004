"""Draws a pool for a budget of labels, and divides the table: images that plan, and pools that certify.

The images of a table are put into an order by a hash of their names, which knows nothing of answers. The first of them
*plan*: their scores and disagreements, without labels, give thresholds, starts and the pool's size. The next ones are
the pool. Within it, the images on which the models differ are labelled by descending score (`disagreements`).

The divided table says in its column `part` what each image is for. So `calibrate` sees a pool that was drawn before any
label was known; one that was chosen after a look at its labels would prove nothing. The plan is kept beside it, for a
second pool.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.certifying import MIN_PLANNING, Guarantee
from littlebig_calibration.disagreements import (
    EXPECTED_REACH,
    STAGE_SHARES,
    Certificate,
    Deciding,
    PoolChoice,
    choose_pool,
    deciding,
    second_pool,
)
from littlebig_calibration.errors import PairChoiceError, TableError
from littlebig_calibration.table import NO_LABEL, PLANNING, ModelColumns, PredictionTable, counted
from littlebig_calibration.walk import disagreements_between, place_shares, walk_thresholds

VERSION = 1
# Images that plan: at most so many, and at most this fraction of the table; they need no labels, but prove nothing.
PLANNING_IMAGES, PLANNING_SHARE = 1_000, 0.2


@dataclass(frozen=True, kw_only=True)
class Goal(Guarantee):
    """What the labels are to certify: a guarantee, of this pair.

    Attributes:
        little: name of the little model in the table.
        big: name of the big model.
        score: `confidence` or `margin`, what is compared with the threshold.
    """

    little: str
    big: str
    score: str = "confidence"


@dataclass(frozen=True)
class Plan:
    """With the table it was made from, this gives the same pool again.

    Attributes:
        goal: what is to be certified.
        table: fingerprint of the table's names, answers and scores.
        seed: of the images' order.
        planning: number of images that plan, the first of the order.
        skipped: images behind them that an earlier pool has used.
        images: size of the pool, the images that follow.
        budget: labels to give at most.
        stage: 1, or 2 for the pool that spends the labels which the first one left.
    """

    goal: Goal
    table: str
    seed: int
    planning: int
    skipped: int
    images: int
    budget: int
    stage: int = 1

    @property
    def error_rate(self) -> float:
        """Probability of a wrong certificate from this pool, at most."""
        return self.goal.error_rate * STAGE_SHARES[self.stage - 1]


@dataclass(frozen=True)
class Pool:
    """The images of a plan.

    Attributes:
        planning: int64 [m], rows of the table that plan.
        rows: int64 [n], rows of the table that certify.
        order: the deciding images; its `rows` are places in `rows`.
        thresholds: float32 [k], descending.
        shares: float64 [k], of the error probability.
    """

    planning: Array
    rows: Array
    order: Deciding
    thresholds: Array
    shares: Array

    def to_label(self, labels: Array, budget: int) -> Array:
        """Rows of the table whose labels decide and are missing, in the order in which the walk reads them.

        Args:
            labels: int [n], the table's.
            budget: number of rows at most.
        """
        deciding = self.rows[self.order.rows]
        return np.asarray(deciding[labels[deciding] == NO_LABEL][:budget])


def make_plan(
    table: PredictionTable, goal: Goal, budget: int, *, reach: float = EXPECTED_REACH, seed: int = 0
) -> tuple[Plan, PoolChoice]:
    """Choose the pool for a budget of labels; no label is read.

    Args:
        table: predictions for a random sample of what is served.
        goal: what is to be certified.
        budget: labels that can be given.
        reach: escalation rate down to which the labels should last.
        seed: of the images' order.

    Returns:
        The plan, and what it can reach.

    Raises:
        PairChoiceError: if the models are unknown, the table has no such score, or it has too few images.
        TableError: if the budget certifies nothing, with the number that would do.
    """
    if not 0 <= goal.max_accuracy_loss < 1 or not 0.5 <= goal.confidence_level < 1:
        raise PairChoiceError(
            f"an accuracy loss of {goal.max_accuracy_loss:g} with {goal.confidence_level:g} confidence: "
            "give a loss in [0, 1) and a confidence in [0.5, 1)"
        )
    planning = min(PLANNING_IMAGES, int(PLANNING_SHARE * len(table.files)))
    if planning < MIN_PLANNING:
        raise PairChoiceError(
            f"{counted(len(table.files), 'image')}: planning takes a fifth of them, and at least {MIN_PLANNING}; "
            f"predict at least {round(MIN_PLANNING / PLANNING_SHARE)}, better 10,000 or more: they need no labels"
        )
    draft = Plan(goal, fingerprint(table, goal), seed, planning, 0, 1, budget)
    differ = _differ(table, goal, image_order(table, seed)[:planning])
    available = len(table.files) - planning
    choice = choose_pool(differ, budget, available, goal.max_accuracy_loss, reach, draft.error_rate)
    return Plan(goal, draft.table, seed, planning, 0, choice.images, budget), choice


def next_plan(table: PredictionTable, plan: Plan, found: Certificate) -> tuple[Plan, PoolChoice] | None:
    """Choose a pool of fresh images for the labels that the first pool left, or None where that promises nothing.

    Args:
        table: the table of the first plan.
        plan: the first plan.
        found: what its labels proved.
    """
    if plan.stage != 1 or found.labels_ran_out:
        return None
    differ = _differ(table, plan.goal, image_order(table, plan.seed)[: plan.planning])
    used, left = plan.planning + plan.images, plan.budget - found.labels_used
    available = len(table.files) - used
    if available < 1:
        return None
    error_rate = plan.goal.error_rate * STAGE_SHARES[1]
    choice = second_pool(differ, left, available, plan.goal.max_accuracy_loss, found.stopped_at, error_rate)
    if choice is None:
        return None
    return Plan(plan.goal, plan.table, plan.seed, plan.planning, plan.images, choice.images, left, 2), choice


def draw_pool(table: PredictionTable, plan: Plan) -> Pool:
    """Draw the plan's images.

    Args:
        table: the table that it was made from.
        plan: the plan.

    Raises:
        TableError: if it was made from another table.
    """
    if fingerprint(table, plan.goal) != plan.table:
        raise TableError("the list was made from other predictions: give the table that it was made from")
    little, big = table.model(plan.goal.little), table.model(plan.goal.big)
    score = table_scores(table, plan.goal)
    everything = image_order(table, plan.seed)
    planning = everything[: plan.planning]
    rows = everything[plan.planning + plan.skipped :][: plan.images]
    if rows.size < plan.images:
        raise TableError(f"the list wants a pool of {plan.images:,} images, the table has {rows.size:,} left")
    shares = place_shares(
        _differ(table, plan.goal, planning), plan.images, plan.goal.max_accuracy_loss, plan.error_rate
    )
    order = deciding(little.label[rows], big.label[rows], score[rows])
    return Pool(planning, rows, order, walk_thresholds(score[planning]), shares)


def divide(table: PredictionTable, *plans: Plan) -> PredictionTable:
    """The images of the plans, each with what it is for; the others are left out.

    Args:
        table: all predictions.
        plans: the first plan, or the first and the second.
    """
    pools = [draw_pool(table, plan) for plan in plans]
    part = np.full(len(table.files), PLANNING - 1, dtype=np.int32)
    part[pools[0].planning] = PLANNING
    for number, pool in enumerate(pools, start=1):
        part[pool.rows] = number
    kept = np.flatnonzero(part >= PLANNING)

    def take(model: ModelColumns) -> ModelColumns:
        margin = None if model.margin is None else model.margin[kept]
        return ModelColumns(
            model.name, model.label[kept], model.confidence[kept], margin, weights_sha256=model.weights_sha256
        )

    names = (plans[0].goal.little, plans[0].goal.big)
    return replace(
        table,
        files=tuple(table.files[row] for row in kept),
        labels=table.labels[kept],
        models=tuple(take(table.model(name)) for name in names),
        part=part[kept],
    )


def write_plan(plan: Plan, path: Path) -> None:
    """Write a plan as JSON.

    Raises:
        TableError: if the file cannot be written.
    """
    try:
        path.write_text(json.dumps({"version": VERSION, **asdict(plan)}, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise TableError(f"cannot write {path}: {error.strerror or error}") from error


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        TableError: if there is none, or it is not one of ours.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("version") != VERSION:
            raise TableError(f"{path} was written by a newer littlebig: update this one")
        goal = Goal(**_checked(values.pop("goal"), Goal))
        return Plan(goal=goal, **_checked(values, Plan))
    except FileNotFoundError:
        raise TableError(f"{path.parent} has no {path.name}: give the folder that 'littlebig label' wrote") from None
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as reason:
        raise TableError(
            f"{path} is not a plan that 'littlebig label' wrote ({reason}): make the list again"
        ) from reason


def image_order(table: PredictionTable, seed: int) -> Array:
    """All rows of a table, int64 [n], in an order that depends on the names and the seed only."""
    keys = [hashlib.sha256(f"{seed} {file}".encode("utf-8", "surrogatepass")).digest() for file in table.files]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def fingerprint(table: PredictionTable, goal: Goal) -> str:
    """Identifies names, both models' answers and the scores, 16 hexadecimal digits."""
    digest = hashlib.sha256("\0".join(table.files).encode("utf-8", "surrogatepass"))
    for name in (goal.little, goal.big):
        digest.update(np.ascontiguousarray(table.model(name).label, dtype="<i4").tobytes())
    digest.update(np.ascontiguousarray(table_scores(table, goal), dtype="<f4").tobytes())
    return digest.hexdigest()[:16]


def table_scores(table: PredictionTable, goal: Goal) -> Array:
    """What the gate compares with the threshold, float32 [n].

    Raises:
        PairChoiceError: if the table has no margins and they are asked for.
    """
    little = table.model(goal.little)
    values = little.confidence if goal.score == "confidence" else little.margin
    if values is None:
        raise PairChoiceError(f"the table has no margins of '{goal.little}': use --score confidence, or predict again")
    return np.asarray(values, dtype=np.float32)


def _differ(table: PredictionTable, goal: Goal, rows: Array) -> Array:
    little, big = table.model(goal.little), table.model(goal.big)
    return disagreements_between(table_scores(table, goal)[rows], little.label[rows] != big.label[rows])


def _checked(values: dict[str, Any], kind: type) -> dict[str, Any]:
    """The values of a dataclass' fields, as they are, if their types are right."""
    types: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "str": (str,)}
    for field in fields(kind):
        expected = types.get(str(field.type))
        if expected and not isinstance(values[field.name], expected):
            raise TypeError(f"{field.name} is {values[field.name]!r}")
    return values
