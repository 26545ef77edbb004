"""The promise itself, over many draws: it is broken in at most 5 % of them, within three standard errors.

A draw is a bootstrap sample from the published predictions, which are taken as the population, so that the
truth is known. `-s` prints the table that docs/calibration.md shows.
"""

from pathlib import Path

import numpy as np
import pytest

from littlebig_calibration.certify import Promise
from littlebig_calibration.cost_target import best_within, measured_loss
from littlebig_calibration.curve import Curve, cascade_curve, paper_threshold
from littlebig_calibration.outcomes import Decision, Outcomes, outcomes
from littlebig_calibration.reading import read_tables
from littlebig_calibration.tuning import Choices, certify, split, tune

DRAWS = 1000
ALLOWED = 0.05 + 3 * np.sqrt(0.05 * 0.95 / DRAWS)
OPTIONS = {
    "as by default": Choices(),
    "gate margin": Choices(("margin",)),
    "arbitrate": Choices(arbitrate=True),
    "gate auto, arbitrate": Choices(("confidence", "margin"), arbitrate=True),
}


@pytest.fixture(scope="module")
def population(published: Path) -> Outcomes:
    table = read_tables([published / "ResNet50.csv", published / "ViT.csv"], published / "labels.csv")
    rows = outcomes(table, "ResNet50", "ViT")
    # The published tables have no second probability: one is drawn, between 30 and 100 % of what is left for
    # it.
    confidence = rows.little_confidence.astype(np.float64)
    rest = np.minimum(1 - confidence, confidence) * np.random.default_rng(7).uniform(0.3, 1, len(rows))
    margin = np.maximum(confidence - rest, 0).astype(np.float32)
    return Outcomes(rows.little_right, rows.big_right, rows.little_confidence, rows.big_confidence, margin)


class Truth:
    """Escalation rate and loss of a cascade over the whole population."""

    def __init__(self, population: Outcomes) -> None:
        self.population = population
        self.big = population.big_right.mean()
        self.curves: dict[Decision, Curve] = {}

    def __call__(self, decision: Decision, threshold: float) -> tuple[float, float]:
        if decision not in self.curves:
            self.curves[decision] = cascade_curve(self.population, decision)
        rate, accuracy = self.curves[decision].at(threshold)
        return rate, self.big - accuracy


@pytest.mark.parametrize(
    ("images", "most_escalated"), [(1_000, 1.0), (5_000, 0.18), (25_000, 0.14)], ids=["1000", "5000", "25000"]
)
def test_the_promise_is_kept_on_fresh_draws(population: Outcomes, images: int, most_escalated: float) -> None:
    draw, truth = np.random.default_rng(images), Truth(population)
    tolerances = (0.0, 0.001, 0.005)
    broken = {(name, loss): 0 for name in OPTIONS for loss in tolerances}
    escalated = dict.fromkeys(broken, 0.0)
    big_only = dict.fromkeys(broken, 0)
    naive = dict.fromkeys(tolerances, 0)
    for _ in range(DRAWS):
        rows = population.take(draw.integers(0, len(population), images))
        curve = cascade_curve(rows, Decision())
        for loss in tolerances:
            threshold = paper_threshold(curve, loss)
            naive[loss] += threshold is not None and truth(Decision(), threshold)[1] > loss + 1e-9
        parts_of = {share: split(rows, share) for share in {choices.tuning_share for choices in OPTIONS.values()}}
        for name, choices in OPTIONS.items():
            parts = parts_of[choices.tuning_share]
            for loss in tolerances:
                decision, _, threshold = certify(*parts, choices, Promise(loss))
                if threshold is None:
                    big_only[name, loss] += 1
                    escalated[name, loss] += 1
                    continue
                rate, lost = truth(decision, threshold)
                broken[name, loss] += lost > loss + 1e-9
                escalated[name, loss] += rate
    for (name, loss), count in broken.items():
        print(
            f"| {images:,} | {loss:.1%} | {name} | {count / DRAWS:.1%} | {naive[loss] / DRAWS:.0%} "
            f"| {escalated[name, loss] / DRAWS:.1%} | {big_only[name, loss] / DRAWS:.1%} |"
        )
    assert {key: count / DRAWS for key, count in broken.items() if count / DRAWS > ALLOWED} == {}
    assert escalated["as by default", 0.0] / DRAWS <= most_escalated
    # The paper's rule does break its promise here: a truth that could not tell would pass the lines above.
    assert min(naive.values()) / DRAWS > 0.4


@pytest.mark.parametrize("loss", [0.0, 0.005])
@pytest.mark.parametrize("images", [1_000, 5_000])
def test_the_promise_is_kept_where_the_truth_is_exactly_on_the_edge(images: int, loss: float) -> None:
    # Discordant images have the highest 5 % of scores, and just so many more are lost than won: every lower
    # threshold loses the tolerance exactly, so that certifying any of them counts as breaking the promise.
    draw = np.random.default_rng(images)
    lost_rate, won_rate = 0.02 + loss, 0.02
    broken = 0
    for _ in range(DRAWS):
        kind = draw.random(images)
        lost, won = kind < lost_rate, (kind >= lost_rate) & (kind < lost_rate + won_rate)
        score = np.where(lost | won, draw.uniform(0.95, 1, images), draw.uniform(0, 0.95, images)).astype(np.float32)
        rows = Outcomes(~lost, ~won, score, score)
        _, _, threshold = certify(*split(rows, 0.05), Choices(), Promise(loss))
        broken += threshold is not None and threshold <= 0.95
    print(f"| {images:,} | {loss:.1%} | on the edge | {broken / DRAWS:.1%} |")
    assert broken / DRAWS <= ALLOWED
    # On the edge a valid test that is any good does err sometimes.
    assert broken > 0


def test_both_promises_of_a_cost_target_are_kept() -> None:
    # Easy images are answered rightly by both. On hard ones, which little knows a little, big is better.
    draw = np.random.default_rng(0)

    def images(number: int) -> Outcomes:
        score = draw.random(number).astype(np.float32)
        return Outcomes(draw.random(number) < 0.5 + score / 2, draw.random(number) < 0.85, score, score)

    target, choices = 0.2, Choices()
    over, more_lost = 0, 0
    for _ in range(DRAWS):
        tuning, certifying = split(images(1000), 0.5)
        decision, grid = tune(tuning, choices, Promise(), len(certifying), target)
        threshold = best_within(tuning, decision, grid, target, 0.95)
        bound = measured_loss(certifying, decision, threshold, 0.95)
        # Uniform scores: the escalation rate is the threshold, and kept images lose 0.85 - (0.5 + score / 2).
        truth = 0.35 * (1 - threshold) - (1 - threshold**2) / 4
        over += threshold > target
        more_lost += truth > bound
    assert over / DRAWS <= ALLOWED
    assert more_lost / DRAWS <= ALLOWED
    assert over > 0
    assert more_lost > 0
