"""The capacity of a device while all instances of both stages are busy, from counted batches and lone batch times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from littlebig_benchmarks.errors import RunFailed
from littlebig_benchmarks.planning.curves import StageCurve


@dataclass(frozen=True)
class Busy:
    """What the stages did while all instances of both were busy.

    Attributes:
        seconds: length of the measurement.
        batches: stage -> images per batch -> number of batches.
    """

    seconds: float
    batches: Mapping[str, Mapping[int, int]]


def capacity_when_busy(busy: Sequence[Busy], stages: Mapping[str, StageCurve]) -> float:
    """Work per second of both stages together; see `curves.Device.capacity`.

    Args:
        busy: one entry per measurement.
        stages: by name.

    Raises:
        RunFailed: if a stage finished no batch.
    """
    seconds = sum(measurement.seconds for measurement in busy)
    capacity = 0.0
    for name, stage in stages.items():
        work = _work([measurement.batches[name] for measurement in busy], stage)
        if not work:
            raise RunFailed(
                f"'{name}' finished no batch in {seconds:.0f} s beside the other stage: "
                "serve it with more of the device"
            )
        capacity += work / seconds
    return capacity


def _work(batches: Sequence[Mapping[int, int]], stage: StageCurve) -> float:
    """Seconds that these batches take one after another on an idle device, times the threads of each."""
    alone = stage.curve.seconds(stage.curve.largest)
    return sum(count * alone[size] for counts in batches for size, count in counts.items()) * stage.threads
