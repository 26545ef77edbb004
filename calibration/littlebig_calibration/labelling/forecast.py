"""What a budget of labels will probably certify, guessed before any label is known.

Where the models differ, no label says which one is right, so two guesses bracket it. The mild one takes both
confidences as they are: little is right, big is, or neither, in the proportion of their odds and 1. The harsh one
divides little's odds by `OVERCONFIDENCE` and multiplies big's by it. Pools are drawn from the planning images, get
labels by such a guess, and are walked like real ones. It is a guess: no promise rests on it.
"""

from dataclasses import dataclass

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.disagreements import (
    STAGE_SHARES,
    PoolChoice,
    certificate,
    choose_pool,
    deciding,
    second_pool,
)
from littlebig_calibration.errors import TableError
from littlebig_calibration.labelling.plan import Goal, Plan, image_order, table_scores
from littlebig_calibration.table import PredictionTable
from littlebig_calibration.walk import UNKNOWN, disagreements_between, walk_thresholds

OVERCONFIDENCE = 3.0
DRAWS, SEED = 9, 0
# Confidences of exactly 0 or 1 have no odds.
CLIP = 1e-4


@dataclass(frozen=True)
class Forecast:
    """Escalation rates to expect; 1.0 means that nothing is certified: big only.

    Attributes:
        images: size of the pool.
        mild: median escalation rate if the confidences are right.
        harsh: median escalation rate if little is overconfident.
    """

    images: int
    mild: float
    harsh: float


@dataclass(frozen=True)
class _Planning:
    """The planning images: scores, whether the models differ, and both models' odds of being right."""

    score: Array
    differ: Array
    little_odds: Array
    big_odds: Array


def forecast(table: PredictionTable, plan: Plan, max_accuracy_loss: float) -> Forecast | None:
    """Guess the escalation rate that the plan's budget buys at a tolerance.

    Args:
        table: the predictions.
        plan: a plan of the first stage.
        max_accuracy_loss: the tolerance, which may be another one than the plan's.

    Returns:
        The guess, or None where the budget certifies nothing at this tolerance.
    """
    goal = plan.goal
    images = _planning_images(table, goal, image_order(table, plan.seed)[: plan.planning])
    available = len(table.files) - plan.planning
    error_rate = goal.error_rate
    differ = disagreements_between(images.score, images.differ)
    size = plan.images
    if max_accuracy_loss != goal.max_accuracy_loss:
        try:
            size = choose_pool(
                differ, plan.budget, available, max_accuracy_loss, error_rate=error_rate * STAGE_SHARES[0]
            ).images
        except TableError:
            return None
    try:
        choice = choose_pool(differ, plan.budget, size, max_accuracy_loss, error_rate=error_rate * STAGE_SHARES[0])
    except TableError:
        return None
    draw = np.random.default_rng(SEED)
    medians = [
        float(
            np.median(
                [
                    _one_draw(images, differ, choice, plan, available, max_accuracy_loss, factor, draw)
                    for _ in range(DRAWS)
                ]
            )
        )
        for factor in (1.0, OVERCONFIDENCE)
    ]
    return Forecast(choice.images, min(medians), max(medians))


def _planning_images(table: PredictionTable, goal: Goal, rows: Array) -> _Planning:
    little, big = table.model(goal.little), table.model(goal.big)

    def odds(confidence: Array) -> Array:
        clipped = np.clip(confidence[rows].astype(np.float64), CLIP, 1 - CLIP)
        return np.asarray(clipped / (1 - clipped))

    differ = little.label[rows] != big.label[rows]
    return _Planning(table_scores(table, goal)[rows], differ, odds(little.confidence), odds(big.confidence))


def _one_draw(
    images: _Planning,
    differ: Array,
    choice: PoolChoice | None,
    plan: Plan,
    available: int,
    tolerance: float,
    factor: float,
    draw: np.random.Generator,
) -> float:
    """The escalation rate certified for pools drawn from the planning images, with guessed labels."""
    thresholds = walk_thresholds(images.score)
    left, rate = plan.budget, 1.0
    for share in STAGE_SHARES:
        if choice is None:
            break
        rows = draw.integers(0, images.score.size, choice.images)
        # Two classes stand for little's and big's: `deciding` asks only whether they differ.
        order = deciding(images.differ[rows].astype(int), np.zeros(rows.size, dtype=int), images.score[rows])
        chosen = rows[order.rows]
        won, lost = images.little_odds[chosen] / factor, images.big_odds[chosen] * factor
        place = draw.random(chosen.size) * (won + lost + 1)
        outcomes = np.where(place < lost, 1, np.where(place < lost + won, -1, 0)).astype(np.int8)
        outcomes[left:] = UNKNOWN
        error_rate = plan.goal.error_rate * share
        try:
            found = certificate(order, outcomes, thresholds, choice.shares, tolerance, error_rate)
        except TableError:
            break
        left -= found.labels_used
        available -= choice.images
        if found.threshold is not None:
            rate = min(rate, float(np.mean(images.score < np.float32(found.threshold))))
        if found.labels_ran_out or available < 1:
            break
        choice = second_pool(differ, left, available, tolerance, found.stopped_at, error_rate)
    return rate
