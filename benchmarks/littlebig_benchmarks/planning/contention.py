"""How much work a device gets done while all instances of both stages are busy, and for whom.

Worked out from what the stages did then and what their batches take alone; nothing here asks a server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from littlebig_benchmarks.errors import RunFailed
from littlebig_benchmarks.planning.curves import STAGES, StageCurve


@dataclass(frozen=True)
class Busy:
    """What the stages did while all instances of both were busy.

    Attributes:
        seconds: how long.
        batches: stage -> images per batch -> batches.
    """

    seconds: float
    batches: Mapping[str, Mapping[int, int]]


def work_when_busy(busy: Sequence[Busy], stages: Mapping[str, StageCurve]) -> dict[str, float]:
    """Work per second of each stage; see `curves.Device`.

    Args:
        busy: what the stages did, each time that was measured.
        stages: by name, as they are alone.

    Raises:
        RunFailed: if a stage got nothing done.
    """
    seconds = sum(one.seconds for one in busy)
    work = {name: work_done([one.batches[name] for one in busy], stage, seconds) for name, stage in stages.items()}
    for name, done in work.items():
        if not done:
            raise RunFailed(
                f"'{name}' finished no batch in {seconds:.0f} s beside the other stage: "
                "serve it with more of the device"
            )
    return work


def work_done(batches: Sequence[Mapping[int, int]], stage: StageCurve, seconds: float) -> float:
    """Work per second of a stage while all instances of both are busy; see `curves.Device`.

    Args:
        batches: images per batch -> batches, of each time that was measured.
        stage: as it is alone.
        seconds: of these times together.
    """
    alone = stage.curve.seconds(stage.curve.largest)
    return sum(count * alone[size] for one in batches for size, count in one.items()) * stage.threads / seconds


def work_of_clients(
    work: Mapping[str, float], stages: Mapping[str, StageCurve], together: Mapping[str, int], transport: float
) -> float:
    """Work per second of clients on the same cores while both stages are busy: some for each request.

    Args:
        work: per second of each stage, as `curves.Device` counts it.
        stages: by name.
        together: images per request to each.
        transport: seconds of the client's cores per request.
    """
    total = 0.0
    for name, stage in stages.items():
        size = together[name]
        total += work[name] / (stage.curve.seconds(size)[size] * stage.threads) * transport
    return total


def weight_of_big(work: Mapping[str, float], stages: Mapping[str, StageCurve]) -> float:
    """Big's weight where little's is 1: what one of its threads got done beside one of little's.

    Measured because niceness does not tell it; docs/planning-validation.md has both figures.

    Args:
        work: per second of each stage while all instances of both are busy.
        stages: by name.
    """
    little, big = (work[name] / (stages[name].instances * stages[name].threads) for name in STAGES)
    return big / little
