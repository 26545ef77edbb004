"""A report of a benchmark as JSON and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from littlebig_benchmarks.figures import Figure, figure, of_measure, ratio, share_of_bound
from littlebig_benchmarks.measuring import IN_PROCESS
from littlebig_benchmarks.rounds import Case, Measures
from littlebig_benchmarks.scenario import Scenario
from littlebig_benchmarks.suite import Results

Rounds = Mapping[Case, Sequence[Measures]]


def as_json(results: Results, scenario: Scenario, command: str) -> str:
    """Every round of every measurement, as it was taken."""
    described = asdict(scenario)
    described["variants"] = sorted(scenario.variants)
    return json.dumps(
        {
            "format": 1,
            "command": command,
            "machine": results.machine,
            "scenario": described,
            "notes": results.notes,
            "throughput": _rounds(results.throughput),
            "gate_alone": _rounds(results.gate),
        },
        indent=1,
    )


def as_markdown(results: Results, scenario: Scenario, command: str) -> str:
    """The tables that a reader wants: medians over the rounds, with lowest and highest."""
    parts = [
        "# Benchmark\n",
        f"`{command}`\n",
        f"{scenario.rounds} rounds, contenders in turns. A figure is the median over the rounds (lowest to highest); a "
        "ratio is taken within each round.\n",
        _table(("", ""), [(name, value) for name, value in results.machine.items()]),
    ]
    if results.throughput:
        parts += ["## Throughput\n", *_throughput(results.throughput, scenario)]
    if results.gate:
        parts += ["## The gate alone, over stages that do nothing\n", _gate(results.gate, scenario)]
    if results.notes:
        parts += ["## Notes\n", "".join(f"* {note}\n" for note in results.notes)]
    return "\n".join(parts)


def _throughput(rounds: Rounds, scenario: Scenario) -> list[str]:
    stability = scenario.stability
    tables = []
    for clients in sorted({case.clients for case in rounds}):
        little, big = rounds[Case("little", None, clients)], rounds[Case("big", None, clients)]
        rows: list[tuple[str, ...]] = [
            (name, "", of_measure(runs, "images_per_second", stability).text(), "", "", "", _cpu(runs, scenario))
            for name, runs in (("little", little), ("big", big))
        ]
        for case, runs in rounds.items():
            if case.clients != clients or case.escalation is None:
                continue
            share, _ = share_of_bound(runs, little, big, stability)
            against = [
                ratio(runs, rounds[other], "images_per_second", stability).text(2) if other in rounds else ""
                for other in (Case(name, case.escalation, clients) for name in ("textbook", IN_PROCESS))
            ]
            rows.append(
                (
                    case.contender,
                    of_measure(runs, "escalation", stability).text(1, percent=True),
                    of_measure(runs, "images_per_second", stability).text(),
                    share.text(1, percent=True),
                    *against,
                    _cpu(runs, scenario),
                )
            )
        heads = ("contender", "escalated", "images/s", "of the bound", "x textbook", "x in process", "CPU ms/image")
        tables.append(f"{clients} clients\n\n{_table(heads, rows)}")
    return tables


def _gate(rounds: Rounds, scenario: Scenario) -> str:
    stability = scenario.stability
    textbook = next(runs for case, runs in rounds.items() if case.contender == "textbook")
    rows = []
    for case, runs in rounds.items():
        name = case.contender
        own, whole = gate_cpu(runs, name, scenario), _total_cpu(runs, scenario)
        base = gate_cpu(textbook, "textbook", scenario)
        relative = figure(
            [one / other for one, other in zip(own.values, base.values, strict=True)], [runs, textbook], stability
        )
        whole_relative = figure(
            [one / other for one, other in zip(whole.values, _total_cpu(textbook, scenario).values, strict=True)],
            [runs, textbook],
            stability,
        )
        rows.append(
            (
                name,
                of_measure(runs, "images_per_second", stability).text(0),
                ratio(runs, textbook, "images_per_second", stability).text(2),
                own.text(3),
                relative.text(2),
                whole.text(3),
                whole_relative.text(2),
                of_measure(runs, "p50_ms", stability).text(1),
            )
        )
    heads = (
        "gate",
        "requests/s",
        "x textbook",
        "CPU ms/request, gate and server",
        "x textbook",
        "with the stages",
        "x textbook",
        "p50 ms",
    )
    return _table(heads, rows)


def gate_cpu(runs: Sequence[Measures], gate: str, scenario: Scenario) -> Figure:
    """CPU milliseconds per request of a gate's own processes and of tritonserver, without the stages'."""
    names = (f"cpu_ms_per_image_{gate}", "cpu_ms_per_image_tritonserver")
    return figure([sum(run[name] for name in names) for run in runs], [runs], scenario.stability)


def _total_cpu(runs: Sequence[Measures], scenario: Scenario) -> Figure:
    values = [sum(value for name, value in run.items() if name.startswith("cpu_ms_per_image_")) for run in runs]
    return figure(values, [runs], scenario.stability)


def _cpu(runs: Sequence[Measures], scenario: Scenario) -> str:
    total = _total_cpu(runs, scenario)
    return total.text(1) if any(total.values) else ""


def _rounds(rounds: Rounds) -> list[dict[str, Any]]:
    return [{**asdict(case), "rounds": [dict(run) for run in runs]} for case, runs in rounds.items()]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
