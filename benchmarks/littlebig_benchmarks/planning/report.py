"""A plan, measured stage curves and a validation, as Markdown and as what goes into JSON."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from littlebig_benchmarks.planning.curves import StageCurve, StageCurves
from littlebig_benchmarks.planning.planner import Choice, Plan, Search
from littlebig_benchmarks.planning.validating import Point, Trial

# What a validation is held to; p99 is told, but it is not held to it.
WITHIN = 0.2
HELD = ("images/s", "mean ms", "p50 ms")
_NAMES = {"cascade": "cascade", "big": "big alone"}
_UNITS = {"gpu": "GPUs", "cpu": "machines"}


def as_json(curves: StageCurves, plan: Plan | None, search: Search, points: Sequence[Point] = ()) -> str:
    """Everything that was found, in numbers."""
    found: dict[str, Any] = {"format": 1, "pair": curves.pair, "device": _device(curves), "machine": curves.machine}
    if plan is not None:
        load = plan.target.load
        found["target"] = {
            "images_per_second": load.rate,
            "escalation": plan.target.escalation,
            "p99_ms": plan.target.p99_ms,
            "balancing": load.balancing,
            "burst": load.burst,
            "burst_seconds": load.burst_seconds,
        }
        found["simulation"] = {"images": search.requests, "seed": search.seed}
        found["plans"] = {entry: _choice(choice) for entry, choice in plan.choices.items()}
        found["impossible"] = plan.impossible
        found["replicas_of_big_alone_per_replica_of_the_cascade"] = plan.ratio
    if points:
        found["validation"] = [_validated(point) for point in points]
    return json.dumps(found, indent=1, ensure_ascii=False)


def plan_as_markdown(curves: StageCurves, plan: Plan, search: Search) -> str:
    """The cascade beside big alone, and what was assumed."""
    target, load = plan.target, plan.target.load
    heads = ("", _UNITS[curves.device.kind], "instances", "queue delay ms", "p50 ms", "p99 ms", "device busy")
    rows = [(_NAMES[entry], *_row(choice)) for entry, choice in plan.choices.items()]
    rows += [(_NAMES[entry], "none", *[""] * 5) for entry in plan.impossible]
    lines = [
        f"# {curves.pair}: {load.rate:g} images/s, {target.escalation:.1%} escalated, p99 of {target.p99_ms:g} ms\n",
        _table(heads, rows),
    ]
    if plan.ratio is not None:
        verdict = f"big alone needs {plan.ratio:.2f} times the {_UNITS[curves.device.kind]} of the cascade"
        lines.append(f"{verdict[0].upper()}{verdict[1:]}.\n")
    lines += [f"* {reason}" for reason in plan.impossible.values()]
    return "\n".join([*lines, *(f"* {one}" for one in _assumed(curves, plan, search))]) + "\n"


def curves_as_markdown(curves: StageCurves) -> str:
    """What was measured."""
    sizes = sorted({size for stage in (curves.little, curves.big) for size in stage.curve.batches})
    rows = []
    for name, batches in (
        ("little", curves.little.curve.batches),
        ("big", curves.big.curve.batches),
        ("gate", curves.gate.curve.batches),
    ):
        rows.append((name, *(f"{np.mean(batches[size]) * 1e3:.2f}" if size in batches else "" for size in sizes)))
    return "\n".join(
        [
            f"# Stage curves of {curves.pair} on {_device_in_words(curves)}\n",
            "Milliseconds for a batch of that many images, mean; the device was otherwise idle.\n",
            _table(("", *map(str, sizes)), rows),
            f"* The client and the network add {curves.transport * 1e3:.2f} ms to a request of one image.",
            f"* With all instances of both stages busy the device does {curves.device.capacity:.2f} times the work of "
            f"one lone {'thread' if curves.device.kind == 'cpu' else 'batch'}, and of it an instance of big gets "
            f"{curves.big.weight:.2f} of what one of little gets.",
            *(f"* {name}: {value}" for name, value in curves.machine.items()),
            "",
        ]
    )


def validation_as_markdown(points: Sequence[Point], trial: Trial) -> str:
    """What the simulation said, what the server did, and by how much they differ."""
    rows = [
        (
            point.name,
            f"{point.escalation:.1%}",
            f"x {statistics.median(point.pace):.2f} ({min(point.pace):.2f} to {max(point.pace):.2f})",
            name,
            _rounds(one.predicted),
            _rounds(one.measured),
            f"{one.error:+.1%}",
        )
        for point in points
        for name, one in point.measures.items()
    ]
    missed = [
        f"{name} at {point.name}" for point in points for name in HELD if abs(point.measures[name].error) > WITHIN
    ]
    verdict = (
        f"Not within {WITHIN:.0%}: {'; '.join(missed)}."
        if missed
        else f"Throughput, mean and p50 are within {WITHIN:.0%} at every point."
    )
    rounds = f"{trial.rounds} round{'s' if trial.rounds > 1 else ''} of {trial.seconds:g} s"
    return "\n".join(
        [
            "# The simulation beside the server\n",
            f"Median (lowest to highest) of {rounds}; the error is taken within each round, then its median.\n",
            _table(("load", "escalated", "stage times", "", "predicted", "measured", "error"), rows),
            "`stage times` are those of lone images just before and after a run, over the curves'; with these the run "
            "was simulated. `ms to little's answer` is the server's own mean of all images, from arrival until little "
            "has answered. Where it is right and the latencies are not, the client is slower under load than alone.\n",
            verdict,
            "",
        ]
    )


def _assumed(curves: StageCurves, plan: Plan, search: Search) -> list[str]:
    load = plan.target.load
    arriving = "at random (Poisson)"
    if load.burst > 1:
        arriving = (
            f"in bursts of {load.burst:g} times the mean rate, {load.burst_seconds:g} s each, a tenth of the time"
        )
    per = "GPU" if curves.device.kind == "gpu" else "machine like that one"
    lines = [
        f"Stage times were measured on {_device_in_words(curves)} ({curves.machine.get('measured', 'no date kept')}); "
        f"nothing is said of any other device. One replica is one {per}.",
        f"Assumed: requests of one image come {arriving}; replicas are chosen "
        f"{'at random' if load.balancing == 'random' else 'in turn'}; each image is unsure on its own; instances share "
        f"the device's capacity ({curves.device.capacity:.2f}). No more instances of a stage than were measured are "
        "tried: to learn of more, serve them and measure again.",
        f"p50, p99 and how busy the device is: one replica, simulated for {search.requests} images with seed "
        f"{search.seed}; +- is the standard error of p99. No replica is kept in reserve for a failure.",
    ]
    if curves.device.kind == "cpu":
        lines.append("The client that was measured works on the same cores, and its work is in the plan.")
    return lines


def _row(choice: Choice) -> tuple[str, ...]:
    layout, outcome = choice.layout, choice.outcome
    instances, delays = f"big {layout.big}", f"big {layout.big_delay * 1e3:g}"
    if layout.entry == "cascade":
        instances = f"gate {layout.gate}, little {layout.little}, {instances}"
        delays = f"little {layout.little_delay * 1e3:g}, {delays}"
    p99 = outcome.with_error(99)
    worst = f"{p99.ms:.1f} +- {p99.error_ms:.1f}"
    return str(choice.replicas), instances, delays, f"{outcome.percentile(50):.1f}", worst, f"{outcome.busy:.0%}"


def _choice(choice: Choice) -> dict[str, Any]:
    layout, outcome = choice.layout, choice.outcome
    stages = ("little", "big") if layout.entry == "cascade" else ("big",)
    models = ("gate", *stages) if layout.entry == "cascade" else stages
    p99 = outcome.with_error(99)
    return {
        "replicas": choice.replicas,
        "instances": {model: getattr(layout, model) for model in models},
        "max_queue_delay_ms": {stage: getattr(layout, f"{stage}_delay") * 1e3 for stage in stages},
        "p50_ms": outcome.percentile(50),
        "p99_ms": p99.ms,
        "p99_standard_error_ms": p99.error_ms,
        "sure_p50_ms": _or_none(outcome.percentile(50, unsure=False)),
        "unsure_p50_ms": _or_none(outcome.percentile(50, unsure=True)),
        "device_busy": outcome.busy,
        "images_per_batch": dict(outcome.batch),
    }


def _rounds(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def _or_none(value: float) -> float | None:
    """JSON knows no NaN."""
    return None if math.isnan(value) else value


def _validated(point: Point) -> dict[str, Any]:
    measures: Mapping[str, Any] = {
        name: {"predicted": list(one.predicted), "measured": list(one.measured), "error": one.error}
        for name, one in point.measures.items()
    }
    return {"load": point.name, "escalation": point.escalation, "pace": list(point.pace), "measures": measures}


def _device(curves: StageCurves) -> dict[str, Any]:
    return {"kind": curves.device.kind, "name": curves.device.name, "capacity": curves.device.capacity}


def _device_in_words(curves: StageCurves) -> str:
    def served(name: str, stage: StageCurve) -> str:
        return f"{stage.instances} of {name}"

    return f"{curves.device.name} ({served('little', curves.little)} and {served('big', curves.big)} at a time)"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
