"""A plan and the curves it was made from, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from littlebig_benchmarks.planning.capacity import Capacity, Plan, Target
from littlebig_benchmarks.planning.curves import StageCurves
from littlebig_benchmarks.planning.pools import Pool

_UNITS = {"gpu": "GPU", "cpu": "machine"}


def as_json(curves: StageCurves, plan: Plan | None, pools: Sequence[Pool] = ()) -> str:
    """The plan in numbers, with pools if there are any; without a plan the device alone."""
    device = curves.device
    result: dict[str, Any] = {
        "format": 2,
        "pair": curves.pair,
        "device": {"kind": device.kind, "name": device.name, "capacity": device.capacity},
        "machine": dict(curves.machine),
    }
    if plan is not None:
        target = plan.target
        result["target"] = {
            "images_per_second": target.rate,
            "escalation": target.escalation,
            "utilisation": target.utilisation,
        }
        result["plans"] = {
            name: {
                "replicas": plan.replicas(capacity),
                "images_per_second_per_replica": capacity.images_per_second,
                "limit": capacity.limit,
                "utilisation": plan.utilisation(capacity),
            }
            for name, capacity in (("cascade", plan.cascade), ("big", plan.big))
        }
        result["cost_ratio"] = plan.cost_ratio
    if pools:
        result["pools"] = {
            pool.name: {
                "device": pool.curves.device.name,
                "replicas": pool.replicas,
                "images_per_second": pool.rate,
                "images_per_second_per_replica": pool.capacity.images_per_second,
                "limit": pool.capacity.limit,
                "utilisation": pool.utilisation,
                "cost_per_hour": pool.cost,
            }
            for pool in pools
        }
    return json.dumps(result, indent=1, ensure_ascii=False)


def plan_as_markdown(curves: StageCurves, plan: Plan) -> str:
    """The cascade beside big alone."""
    target, unit = plan.target, _UNITS[curves.device.kind]
    heads = ("", f"{unit}s", f"images/s per {unit}", "limited by", "utilisation")
    rows = [_row(name, capacity, plan) for name, capacity in (("cascade", plan.cascade), ("big alone", plan.big))]
    return "\n".join(
        [
            f"# {curves.pair}: {target.rate:g} images/s, {target.escalation:.1%} escalated, "
            f"utilisation at most {target.utilisation:.0%}\n",
            _table(heads, rows),
            f"Big alone needs {plan.cost_ratio:.2f} times the {unit}s of the cascade.\n",
            f"* Measured on {device_in_words(curves)}, {curves.machine.get('measured', 'no date kept')}; the plan "
            "holds for this device alone.",
            "* A capacity is that of full queues, with every stage at its best batch size. No replica is kept in "
            "reserve for a failure.",
            "* Latency is not planned. Measure it on the device: littlebig bench --only rates.",
            "",
        ]
    )


def pools_as_markdown(target: Target, pools: Sequence[Pool]) -> str:
    """Little's pool and big's, beside big alone."""
    little, big, alone = pools
    priced = little.cost is not None and big.cost is not None
    heads = ("", "device", "replicas", "images/s per replica", "limited by", "utilisation", *["per hour"] * priced)
    rows = [
        (
            pool.name,
            pool.curves.device.name,
            str(pool.replicas),
            f"{pool.capacity.images_per_second:,.0f}",
            _limit(pool.capacity),
            f"{pool.utilisation:.0%}",
            *([f"{pool.cost:,.2f}"] if priced else []),
        )
        for pool in pools
    ]
    lines = [
        f"# {little.curves.pair} in two pools: {target.rate:g} images/s, {target.escalation:.1%} escalated, "
        f"utilisation at most {target.utilisation:.0%}\n",
        _table(heads, rows),
    ]
    if little.cost is not None and big.cost is not None and alone.cost is not None:
        total = little.cost + big.cost
        times = f", {alone.cost / total:.2f} times as much" if total else ""
        lines.append(f"The two pools cost {total:,.2f} per hour, big alone {alone.cost:,.2f}{times}.\n")
    lines += ["* The network between the pools is not planned: an escalated image is one canonical image.", ""]
    return "\n".join(lines)


def curves_as_markdown(curves: StageCurves) -> str:
    """What was measured: images per second of one instance by batch size."""
    sizes = sorted({*curves.little.curve.batches, *curves.big.curve.batches})
    models = (("little", curves.little), ("big", curves.big), ("gate, its own time", curves.gate))
    rows = []
    for name, model in models:
        batches = model.curve.batches
        cells = (f"{size / batches[size]:,.0f}" if batches.get(size) else "" for size in sizes)
        rows.append((name, str(model.instances), *cells))
    kind = "thread" if curves.device.kind == "cpu" else "batch"
    return "\n".join(
        [
            f"# Stage curves of {curves.pair} on {device_in_words(curves)}\n",
            "Images per second of one instance on the idle device, by images per batch.\n",
            _table(("", "instances", *map(str, sizes)), rows),
            f"* With all instances of both stages busy, the device does {curves.device.capacity:.2f} times the work of "
            f"one {kind}.",
            *(f"* {name}: {value}" for name, value in curves.machine.items()),
            "",
        ]
    )


def device_in_words(curves: StageCurves) -> str:
    """The device, with the instances of both stages."""
    return f"{curves.device.name} ({curves.little.instances} of little and {curves.big.instances} of big)"


def _row(name: str, capacity: Capacity, plan: Plan) -> tuple[str, ...]:
    return (
        name,
        str(plan.replicas(capacity)),
        f"{capacity.images_per_second:,.0f}",
        _limit(capacity),
        f"{plan.utilisation(capacity):.0%}",
    )


def _limit(capacity: Capacity) -> str:
    return "the device" if capacity.limit == "device" else f"instances of {capacity.limit}"


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in (heads, ("---",) * len(heads), *rows))
