"""Stage curves: what was measured of a pair's stages on a device, and the JSON file that keeps it.

Every time in here was measured. Multiply-adds do not give a time, so none is derived from them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from littlebig_benchmarks.planning.errors import CurvesError

FORMAT = "littlebig-stage-curves/1"
KINDS = ("cpu", "gpu")
BATCHES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Curve:
    """Mean seconds per batch.

    Attributes:
        batches: images per batch -> seconds; sizes ascend from 1.
    """

    batches: Mapping[int, float]

    def seconds(self, largest: int) -> list[float]:
        """Seconds for batches of 0 to `largest` images, interpolated linearly between the measured sizes.

        Args:
            largest: at most the largest measured size, because nothing is known beyond it.
        """
        sizes = np.arange(1, largest + 1)
        return [0.0, *np.interp(sizes, list(self.batches), list(self.batches.values())).tolist()]

    @property
    def largest(self) -> int:
        """The largest measured size."""
        return max(self.batches)


@dataclass(frozen=True)
class StageCurve:
    """One stage as it was served during the measurement.

    Attributes:
        curve: seconds per batch of one instance on an idle device.
        instances: of the stage on one device.
        max_batch_size: from its config.pbtxt.
        threads: cores that a batch of one instance uses; 1 on a GPU.
    """

    curve: Curve
    instances: int
    max_batch_size: int
    threads: int = 1


@dataclass(frozen=True)
class GateCurve:
    """The gate as it was served during the measurement.

    Attributes:
        curve: the gate's own seconds per batch, without its calls to the stages.
        instances: of the gate.
        max_batch_size: from its config.pbtxt.
    """

    curve: Curve
    instances: int
    max_batch_size: int


@dataclass(frozen=True)
class Device:
    """What the stages share.

    Attributes:
        kind: `cpu` or `gpu`.
        name: as the machine reports it.
        capacity: work per second while all instances of both stages are busy, in multiples of what one thread (cpu)
            or one batch (gpu) does on an idle device.
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
        machine: machine, versions and time of the measurement, as printed.
    """

    pair: str
    device: Device
    little: StageCurve
    big: StageCurve
    gate: GateCurve
    machine: Mapping[str, str]


def write_curves(path: Path, curves: StageCurves) -> None:
    """Write the file that `read_curves` reads.

    Raises:
        CurvesError: if it cannot be written.
    """
    device, models = curves.device, (("little", curves.little), ("big", curves.big), ("gate", curves.gate))
    parts: dict[str, Any] = {
        "format": FORMAT,
        "pair": curves.pair,
        "device": {"kind": device.kind, "name": device.name, "capacity": round(device.capacity, 4)},
        "machine": dict(curves.machine),
    }
    for name, model in models:
        parts[name] = {"instances": model.instances, "max_batch_size": model.max_batch_size}
        if isinstance(model, StageCurve):
            parts[name]["threads"] = model.threads
        parts[name]["batches"] = [
            {"images": size, "seconds": round(seconds, 6)} for size, seconds in model.curve.batches.items()
        ]
    # One line per part: a diff shows which stage has changed.
    lines = (f" {json.dumps(name)}: {json.dumps(part, ensure_ascii=False)}" for name, part in parts.items())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    except OSError as reason:
        raise CurvesError(f"cannot write stage curves to '{path}': {reason.strerror or reason}") from None


def read_curves(path: Path, pair: str) -> StageCurves:
    """Read stage curves.

    Files of earlier versions list the seconds of every batch and hold more fields; their means are taken and the other
    fields are ignored.

    Args:
        path: a file written by `littlebig plan --measure`.
        pair: the pair that the file must be of.

    Raises:
        CurvesError: if the file is missing, incomplete, or of another pair.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CurvesError(
            f"no stage curves at '{path}': measure them on the machine that will serve, with "
            f"'littlebig plan --measure --pair {pair} --repository DIR' or '--url HOST:PORT'"
        ) from None
    except (OSError, ValueError) as reason:
        raise CurvesError(f"'{path}' is no file of stage curves ({reason}): measure again with --measure") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CurvesError(f"'{path}' is no file of stage curves (its format is not {FORMAT}): measure with --measure")
    try:
        curves = _parse(content)
    except KeyError as missing:
        raise CurvesError(f"stage curves '{path}' lack {missing}: measure again with --measure") from None
    except (TypeError, ValueError, AttributeError) as reason:
        raise CurvesError(f"stage curves '{path}': {reason}: measure again with --measure") from None
    if curves.pair != pair:
        raise CurvesError(
            f"stage curves '{path}' are of the pair '{curves.pair}', not '{pair}': give --pair or --curves"
        )
    return curves


def _parse(content: Mapping[str, Any]) -> StageCurves:
    device, gate = content["device"], content["gate"]
    if device["kind"] not in KINDS:
        raise ValueError(f"device kind '{device['kind']}' is none of {', '.join(KINDS)}")
    capacity = float(device["capacity"])
    if not (math.isfinite(capacity) and capacity > 0):
        raise ValueError(f"capacity {device['capacity']!r} is not above 0")
    return StageCurves(
        str(content["pair"]),
        Device(device["kind"], str(device["name"]), capacity),
        _stage(content["little"]),
        _stage(content["big"]),
        GateCurve(_curve(gate["batches"], zero=True), _whole(gate, "instances"), _whole(gate, "max_batch_size")),
        {str(name): str(value) for name, value in content["machine"].items()},
    )


def _stage(part: Mapping[str, Any]) -> StageCurve:
    return StageCurve(
        _curve(part["batches"]), *(_whole(part, name) for name in ("instances", "max_batch_size", "threads"))
    )


def _curve(part: Sequence[Mapping[str, Any]], *, zero: bool = False) -> Curve:
    """A curve; times of 0 are allowed for the gate alone, whose own time is a difference."""
    batches = {_whole(batch, "images"): _mean(batch["seconds"], zero=zero) for batch in part}
    if 1 not in batches:
        raise ValueError("a curve must begin with batches of one image")
    return Curve(dict(sorted(batches.items())))


def _mean(seconds: Any, *, zero: bool) -> float:
    times = [float(value) for value in (seconds if isinstance(seconds, list) else [seconds])]
    if not times or any(not math.isfinite(value) or value < 0 or (value == 0 and not zero) for value in times):
        raise ValueError(f"seconds {seconds} are not positive times")
    return float(np.mean(times))


def _whole(part: Mapping[str, Any], name: str) -> int:
    value = part[name]
    if type(value) is not int or value < 1:  # True is an int too
        raise ValueError(f"{name} {value!r} is not a whole number from 1 on")
    return value
