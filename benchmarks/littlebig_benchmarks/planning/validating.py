"""The simulation beside a real server: the same run on both, what came of each, and by how much they differ."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import tritonclient.grpc

from littlebig_benchmarks import load
from littlebig_benchmarks.errors import ScenarioError
from littlebig_benchmarks.images import Mix, Pictures, mix
from littlebig_benchmarks.planning import asking
from littlebig_benchmarks.planning.arrivals import ClosedLoad, RecordedLoad
from littlebig_benchmarks.planning.curves import StageCurves
from littlebig_benchmarks.planning.simulation import Layout, replay
from littlebig_benchmarks.serving import Served

# The last one is the server's own account of all images, sure or not: no client has a part in it.
MEASURES = ("images/s", "mean ms", "p50 ms", "p99 ms", "ms to little's answer")
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
        predicted: by the simulation, one per round.
        measured: on the server, one per round.
    """

    predicted: tuple[float, ...]
    measured: tuple[float, ...]

    @property
    def error(self) -> float:
        """By how much the prediction is too high, as a fraction of what was measured: the median of the rounds'."""
        return statistics.median(one / other - 1 for one, other in zip(self.predicted, self.measured, strict=True))


@dataclass(frozen=True)
class Point:
    """One operating point.

    Attributes:
        name: the load, in words.
        escalation: that the server counted, in the mean of the rounds.
        pace: what a lone batch of the stages took just before and after each round, over what the curves say.
        measures: of MEASURES.
    """

    name: str
    escalation: float
    pace: tuple[float, ...]
    measures: Mapping[str, Beside]


def validate(
    served: Served, curves: StageCurves, pictures: Pictures, trial: Trial, tell: Callable[[str], None]
) -> list[Point]:
    """Load a server that serves as the curves were measured, and simulate the same.

    How fast a shared machine is changes within minutes, and is nothing that a simulation of queues can know. So each
    run is simulated with the stage times that were found beside it.

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
    name = f"{trial.clients} clients"
    tell(name)
    asked = load.Load("little_big", trial.seconds, clients=trial.clients)
    points = [_point(name, served, asked, curves, pictures, trial)]
    reached = statistics.median(points[0].measures["images/s"].measured)
    for share in trial.shares:
        rate = reached * share
        name = f"{rate:.0f} images/s at random ({share:.0%})"
        tell(name)
        asked = load.Load("little_big", trial.seconds, rate=rate)
        points.append(_point(name, served, asked, curves, pictures, trial))
    return points


def _point(name: str, served: Served, asked: load.Load, curves: StageCurves, pictures: Pictures, trial: Trial) -> Point:
    measured, predicted, escalation, paces = [], [], [], []
    for seed in range(trial.seed, trial.seed + trial.rounds):
        order = mix(pictures, trial.escalation, asked.clients or 1, seed)
        alone = [asking.lone(served)]
        before = _gate_counted(served.url)
        answers = load.run(served.url, replace(asked, seed=seed), pictures, order)
        requests, request_ns = (now - then for now, then in zip(_gate_counted(served.url), before, strict=True))
        if answers.images < 2 * trial.clients:
            raise ScenarioError(
                f"only {answers.images} answers in {trial.seconds:g} s are too few to compare: give more --seconds"
            )
        alone.append(asking.lone(served))
        paces.append(pace(curves, alone))
        latencies = answers.sure_ms + answers.unsure_ms
        measured.append(_figures(latencies, answers.seconds, request_ns / requests / 1e6))
        escalation.append(answers.measures()["escalation"])
        predicted.append(_simulated(curves.paced(paces[-1]), replace(asked, seed=seed), order, answers.images))
    columns = zip(MEASURES, zip(*predicted, strict=True), zip(*measured, strict=True), strict=True)
    measures = {name: Beside(ours, theirs) for name, ours, theirs in columns}
    return Point(name, float(np.mean(escalation)), tuple(paces), measures)


def pace(curves: StageCurves, alone: Sequence[Mapping[str, float]]) -> float:
    """How many times as long the stages take as when the curves were measured.

    Args:
        curves: what was measured.
        alone: stage -> seconds of a lone batch of one image, of each time they were looked at.
    """
    then = {"little": curves.little.curve.seconds(1)[1], "big": curves.big.curve.seconds(1)[1]}
    return float(np.mean([seconds / then[name] for one in alone for name, seconds in one.items()]))


def _simulated(curves: StageCurves, asked: load.Load, order: Mix, images: int) -> tuple[float, ...]:
    """The very run that the server had: the same images, and where they came at random, at the same times."""
    like: ClosedLoad | RecordedLoad = ClosedLoad(asked.clients or 1)
    if asked.rate:
        like = RecordedLoad(tuple(load.arrival_times(asked, images)))
    unsure = np.resize(order.unsure, images)
    outcome = replay(curves, Layout(), like, unsure, np.random.default_rng(asked.seed))
    latencies = ((outcome.answered - outcome.sent) * 1e3).tolist()
    return _figures(latencies, float(outcome.answered.max()), outcome.decided * 1e3)


def _figures(latencies_ms: Sequence[float], seconds: float, decided_ms: float) -> tuple[float, ...]:
    """In the order of MEASURES."""
    percentiles = np.percentile(latencies_ms, (50, 99)).tolist()
    return (len(latencies_ms) / seconds, float(np.mean(latencies_ms)), *percentiles, decided_ms)


def _gate_counted(url: str) -> tuple[int, int]:
    """Requests that the gate has answered, and nanoseconds from their arrival until `execute` returned.

    That is when the sure ones are answered; what comes later for the others Triton does not count.
    """
    with tritonclient.grpc.InferenceServerClient(url) as client:
        (found,) = client.get_inference_statistics("little_big").model_stats
    return int(found.inference_stats.success.count), int(found.inference_stats.success.ns)
