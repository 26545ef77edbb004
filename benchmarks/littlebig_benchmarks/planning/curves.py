"""Stage curves: what was measured of a pair's stages on a device, and the JSON file it is kept in.

A time in here was measured. There is no way from a model's multiply-adds to a time, and none is offered.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from littlebig_benchmarks.planning.errors import CurvesError

FORMAT = "littlebig-stage-curves/1"
KINDS = ("cpu", "gpu")
STAGES = ("little", "big")
BATCHES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Curve:
    """Seconds per batch.

    Attributes:
        batches: images per batch -> seconds of each measured batch; ascending, at least one size from 1 on.
    """

    batches: Mapping[int, tuple[float, ...]]

    def seconds(self, most: int) -> list[float]:
        """Mean seconds for batches of 0 to `most` images, in a straight line between measured sizes.

        Args:
            most: at most the largest size that was measured: nothing is known beyond it.
        """
        sizes = sorted(self.batches)
        means = [float(np.mean(self.batches[size])) for size in sizes]
        return [0.0, *np.interp(np.arange(1, most + 1), sizes, means).tolist()]

    def scaled(self, factor: float) -> Curve:
        """The same of a device that takes so much longer."""
        return Curve({size: tuple(factor * one for one in times) for size, times in self.batches.items()})

    @property
    def largest(self) -> int:
        """The largest size that was measured."""
        return max(self.batches)

    @property
    def spread(self) -> tuple[float, ...]:
        """Each measured batch's time over the mean of its size: how much times scatter."""
        ratios = [one / float(np.mean(times)) for times in self.batches.values() for one in times if any(times)]
        return tuple(ratios) or (1.0,)


@dataclass(frozen=True)
class StageCurve:
    """One stage as it was served when it was measured.

    Attributes:
        curve: seconds per batch of one instance that has the device to itself.
        instances: of the stage on one device.
        max_batch_size: of its config.pbtxt.
        max_queue_delay: of its dynamic batcher, seconds.
        threads: cores that a batch of one instance takes; 1 on a GPU.
        weight: of each of its threads (cpu) or batches (gpu) where both stages want more than the device has; little's
            is 1.
        preferred_batch_size: the largest of its dynamic batcher; 0 for none.
    """

    curve: Curve
    instances: int
    max_batch_size: int
    max_queue_delay: float = 0.0
    threads: int = 1
    weight: float = 1.0
    preferred_batch_size: int = 0


@dataclass(frozen=True)
class GateCurve:
    """The gate as it was served.

    Attributes:
        curve: seconds that the gate itself takes for a batch, without its calls of the stages.
        instances: of the gate.
        max_batch_size: of its config.pbtxt.
        max_batches_in_flight: batches of one instance that may wait for big.
    """

    curve: Curve
    instances: int
    max_batch_size: int
    max_batches_in_flight: int


@dataclass(frozen=True)
class Device:
    """What the stages share.

    Attributes:
        kind: `cpu` or `gpu`.
        name: as the machine calls it.
        capacity: work per second when all instances of both stages are busy, in multiples of what one lone thread
            (cpu) or one lone batch (gpu) gets done.
    """

    kind: str
    name: str
    capacity: float


@dataclass(frozen=True)
class StageCurves:
    """Everything measured of one pair on one device.

    Attributes:
        pair: its name.
        device: what the stages share.
        little: the little stage.
        big: the big stage.
        gate: the gate.
        transport: mean seconds between client and server for a request of one image.
        machine: machine, versions and time of the measurement, as printed.
    """

    pair: str
    device: Device
    little: StageCurve
    big: StageCurve
    gate: GateCurve
    transport: float
    machine: Mapping[str, str]

    def paced(self, pace: float) -> StageCurves:
        """The same while both stages take so many times as long."""
        little = replace(self.little, curve=self.little.curve.scaled(pace))
        return replace(self, little=little, big=replace(self.big, curve=self.big.curve.scaled(pace)))


def write_curves(path: Path, curves: StageCurves) -> None:
    """Write the file that `read_curves` reads.

    Raises:
        CurvesError: if it cannot be written.
    """
    plain = asdict(curves)
    stages = {name: plain.pop(name) for name in ("little", "big", "gate")}
    for stage in stages.values():
        stage["batches"] = [
            {"images": images, "seconds": _rounded(times)} for images, times in stage.pop("curve")["batches"].items()
        ]
    plain["transport"] = round(curves.transport, 6)
    text = json.dumps({"format": FORMAT, **plain, **stages}, indent=1, ensure_ascii=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as reason:
        raise CurvesError(f"cannot write stage curves to '{path}': {reason.strerror or reason}") from None


def read_curves(path: Path, pair: str) -> StageCurves:
    """Read stage curves.

    Args:
        path: a file that `littlebig plan --measure` wrote.
        pair: that they must be of.

    Raises:
        CurvesError: if the file is not there, not whole, or of another pair.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CurvesError(
            f"no stage curves at '{path}': measure them on the machine that will serve, with "
            f"'littlebig plan --measure --pair {pair} --repository DIR' or '--url HOST:PORT'"
        ) from None
    except (OSError, ValueError) as reason:
        raise CurvesError(f"'{path}' is no file of stage curves ({reason}): measure again with --measure") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise CurvesError(f"'{path}' is no file of stage curves (its format is not {FORMAT}): measure with --measure")
    try:
        curves = _curves(found)
    except KeyError as missing:
        raise CurvesError(f"stage curves '{path}' lack {missing}: measure again with --measure") from None
    except (TypeError, ValueError, AttributeError) as reason:
        raise CurvesError(f"stage curves '{path}': {reason}: measure again with --measure") from None
    if curves.pair != pair:
        raise CurvesError(
            f"stage curves '{path}' are of the pair '{curves.pair}', not '{pair}': give --pair or --curves"
        )
    return curves


def _curves(found: Mapping[str, Any]) -> StageCurves:
    device = found["device"]
    if device["kind"] not in KINDS:
        raise ValueError(f"device kind '{device['kind']}' is none of {', '.join(KINDS)}")
    gate = found["gate"]
    return StageCurves(
        str(found["pair"]),
        Device(device["kind"], str(device["name"]), _at_least(device, "capacity", 1e-9)),
        _stage(found["little"]),
        _stage(found["big"]),
        GateCurve(
            _curve(gate["batches"], zero=True),
            *(_whole(gate, name) for name in ("instances", "max_batch_size", "max_batches_in_flight")),
        ),
        _at_least(found, "transport", 0.0),
        {str(name): str(value) for name, value in found["machine"].items()},
    )


def _stage(found: Mapping[str, Any]) -> StageCurve:
    return StageCurve(
        _curve(found["batches"]),
        _whole(found, "instances"),
        _whole(found, "max_batch_size"),
        _at_least(found, "max_queue_delay", 0.0),
        _whole(found, "threads"),
        _at_least(found, "weight", 1e-9),
        int(_at_least(found, "preferred_batch_size", 0.0)),
    )


def _curve(found: Sequence[Mapping[str, Any]], *, zero: bool = False) -> Curve:
    batches = {_whole(one, "images"): _times("seconds", one["seconds"], zero=zero) for one in found}
    if 1 not in batches:
        raise ValueError("a curve must begin with batches of one image")
    return Curve(dict(sorted(batches.items())))


def _times(name: str, found: Sequence[Any], *, zero: bool = False) -> tuple[float, ...]:
    times = tuple(float(one) for one in found)
    if not times or any(not math.isfinite(one) or one < 0 or (one == 0 and not zero) for one in times):
        raise ValueError(f"{name} {list(found)} are not positive times")
    return times


def _whole(found: Mapping[str, Any], name: str) -> int:
    value = found[name]
    if type(value) is not int or value < 1:  # True is an int too
        raise ValueError(f"{name} {value!r} is not a whole number from 1 on")
    return value


def _at_least(found: Mapping[str, Any], name: str, least: float) -> float:
    value = float(found[name])
    if not math.isfinite(value) or value < least:
        raise ValueError(f"{name} {found[name]!r} is too small")
    return value


def _rounded(times: Sequence[float]) -> list[float]:
    """To a microsecond."""
    return [round(one, 6) for one in times]
