"""The simulation beside a real server: the same load on both, what came of each, and by how much they differ."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from littlebig_benchmarks import load
from littlebig_benchmarks.errors import ScenarioError
from littlebig_benchmarks.images import Mix, Pictures, mix
from littlebig_benchmarks.planning.arrivals import ClosedLoad, OpenLoad
from littlebig_benchmarks.planning.curves import StageCurves
from littlebig_benchmarks.planning.outcome import Outcome
from littlebig_benchmarks.planning.simulation import Layout, simulate
from littlebig_benchmarks.serving import Served

MEASURES = ("images/s", "mean ms", "p50 ms", "p99 ms")
_WARM_UP_SECONDS = 2.0


@dataclass(frozen=True)
class Trial:
    """How the simulation is tried.

    Attributes:
        escalation: share of images that little is unsure of.
        shares: operating points, as shares of the throughput that the clients reached.
        clients: that ask one image after another, to learn the cascade's throughput.
        seconds: of each run.
        rounds: runs of each point; a measured figure is their median.
        seed: of the arrivals, the order of images and the simulation.
    """

    escalation: float
    shares: tuple[float, ...] = (0.4, 0.75)
    clients: int = 16
    seconds: float = 10.0
    rounds: int = 3
    seed: int = 0


@dataclass(frozen=True)
class Beside:
    """One measure of one operating point.

    Attributes:
        predicted: by the simulation.
        measured: on the server, one per round.
    """

    predicted: float
    measured: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.measured)

    @property
    def error(self) -> float:
        """By how much the prediction is too high, as a fraction of the measured median."""
        return self.predicted / self.median - 1


@dataclass(frozen=True)
class Point:
    """One operating point.

    Attributes:
        name: the load, in words.
        escalation: that the server counted, in the mean of the rounds.
        measures: of MEASURES.
    """

    name: str
    escalation: float
    measures: Mapping[str, Beside]


def validate(
    served: Served, curves: StageCurves, pictures: Pictures, trial: Trial, tell: Callable[[str], None]
) -> list[Point]:
    """Load a server that serves as the curves were measured, and simulate the same.

    Args:
        served: the server; nobody else may use it meanwhile.
        curves: of its pair, measured on its machine.
        pictures: with both kinds of images.
        trial: what is tried.
        tell: says what happens.

    Returns:
        First the clients that ask one image after another, then the shares of what they reached.

    Raises:
        RunFailed: if a request fails.
        ImagesError: if there are no pictures of a kind.
        ScenarioError: if a run was too short for a figure.
    """
    tell("warm up")
    order = mix(pictures, trial.escalation, 1, trial.seed)
    load.run(served.url, load.Load("little_big", _WARM_UP_SECONDS, clients=trial.clients), pictures, order)
    tell(f"{trial.clients} clients")
    closed = _measured(served, load.Load("little_big", trial.seconds, clients=trial.clients), pictures, trial)
    points = [_point(f"{trial.clients} clients", curves, ClosedLoad(trial.clients), closed, trial)]
    reached = points[0].measures["images/s"].median
    for share in trial.shares:
        rate = reached * share
        name = f"{rate:.0f} images/s at random ({share:.0%})"
        tell(name)
        taken = _measured(served, load.Load("little_big", trial.seconds, rate=rate), pictures, trial)
        points.append(_point(name, curves, OpenLoad(rate), taken, trial))
    return points


def _measured(served: Served, asked: load.Load, pictures: Pictures, trial: Trial) -> list[load.Answers]:
    taken = []
    for number in range(trial.rounds):
        seed = trial.seed + number
        order: Mix = mix(pictures, trial.escalation, asked.clients or 1, seed)
        one = load.Load(asked.model, asked.seconds, asked.clients, asked.rate, asked.requests, seed)
        answers = load.run(served.url, one, pictures, order)
        if answers.images < 2 * trial.clients:
            raise ScenarioError(
                f"only {answers.images} answers in {trial.seconds:g} s are too few to compare: give more --seconds"
            )
        taken.append(answers)
    return taken


def _point(
    name: str, curves: StageCurves, asked: OpenLoad | ClosedLoad, taken: Sequence[load.Answers], trial: Trial
) -> Point:
    escalation = float(np.mean([answers.measures()["escalation"] for answers in taken]))
    predicted = _of_simulation(simulate(curves, Layout(), asked, escalation, seed=trial.seed))
    measured = [_of_answers(answers) for answers in taken]
    return Point(
        name,
        escalation,
        {name: Beside(predicted[name], tuple(one[name] for one in measured)) for name in MEASURES},
    )


def _of_simulation(outcome: Outcome) -> dict[str, float]:
    values = (outcome.images_per_second, float(outcome.latencies.mean()) * 1e3, *map(outcome.percentile, (50, 99)))
    return dict(zip(MEASURES, values, strict=True))


def _of_answers(answers: load.Answers) -> dict[str, float]:
    latencies = np.array(answers.sure_ms + answers.unsure_ms)
    values = (answers.images_per_second, float(latencies.mean()), *np.percentile(latencies, (50, 99)).tolist())
    return dict(zip(MEASURES, values, strict=True))
