"""A report of a benchmark as JSON and as Markdown."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from littlebig_benchmarks.figures import CONFIDENCE, Figure, figure, of_measure, ratio, share_of_bound
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
            "stopped": results.stopped,
            "throughput": _rounds(results.throughput),
            "latency": _rounds(results.latency),
            "offered_rates": _rounds(results.rates),
            "gate_alone": _rounds(results.gate),
        },
        indent=1,
    )


def as_markdown(results: Results, scenario: Scenario, command: str) -> str:
    """The tables that a reader wants: medians over the rounds, with their intervals."""
    rounds = f"At most {scenario.rounds}" if results.stopped else str(scenario.rounds)
    parts = [
        "# Benchmark\n",
        f"`{command}`\n",
        f"{rounds} rounds, contenders in turns. A figure is the median over the rounds; in brackets, where that of "
        f"many more would lie ({CONFIDENCE:.0%} confidence; of fewer than five rounds, their range). A ratio is taken "
        "within each round.\n",
        _table(("", ""), [(name, value) for name, value in results.machine.items()]),
    ]
    if results.throughput:
        parts += ["## Throughput\n", *_throughput(results.throughput, scenario)]
        parts += [
            "Triton's own statistics, medians: images per batch / mean ms in the queue / mean ms of the batch.\n",
            _statistics(results.throughput),
        ]
    if results.latency:
        parts += [
            "## Latency of sure and of unsure images\n",
            "By our own load. `x little` and `ms over little`: against little in the line with the same load.\n",
            _latency(results.latency, scenario),
        ]
    if results.rates:
        parts += ["## Latency against offered rate\n", "Arrivals at random.\n", _rates(results.rates, scenario)]
    if results.gate:
        parts += [
            "## The gate alone, over stages that do nothing\n",
            "`little` is such a stage, asked without a gate: `over little's` is what a gate adds to a request.\n",
            _gate(results.gate, scenario),
        ]
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


def _statistics(rounds: Rounds) -> str:
    """Triton's own counts: how large the batches were, how long images waited, what the server held."""
    rows = []
    for case, runs in rounds.items():
        if case.contender == IN_PROCESS:
            continue
        own = [] if case.contender in ("little", "big") else [case.contender]
        cells = []
        for model in ("little", "big", *own):
            names = [f"{model}_batch", f"{model}_queue_ms", f"{model}_compute_ms"]
            cells.append(" / ".join(_middle(runs, name) for name in names) if names[0] in runs[0] else "")
        memory = [sum(size for name, size in run.items() if name.startswith("memory_mib_")) for run in runs]
        cells += [""] * (3 - len(cells))
        cells.append(f"{max(memory):,.0f}" if any(memory) else "")
        rows.append((str(case), *cells))
    return _table(("", "little", "big", "the gate", "memory of all the server at most, MiB"), rows)


def _latency(rounds: Rounds, scenario: Scenario) -> str:
    stability = scenario.stability
    rows = []
    for case, runs in rounds.items():
        alone = rounds.get(replace(case, contender="little"), runs)
        sure, beside = (of_measure(one, "sure_p50_ms", stability) for one in (runs, alone))
        added = [own - other for own, other in zip(sure.values, beside.values, strict=True)]
        worst = sure.unstable or beside.unstable
        rows.append(
            (
                str(case),
                of_measure(runs, "images_per_second", stability).text(),
                sure.text(),
                ratio(runs, alone, "sure_p50_ms", stability).text(2),
                Figure(tuple(added), worst).text(2),
                *(_text(runs, name, scenario) for name in ("sure_p99_ms", "unsure_p50_ms", "unsure_p99_ms")),
            )
        )
    heads = ("", "images/s", "sure p50 ms", "x little", "ms over little", "sure p99", "unsure p50", "unsure p99")
    return _table(heads, rows)


def _rates(rounds: Rounds, scenario: Scenario) -> str:
    rows = [
        (case.contender, f"{case.rate:.0f}", *(_text(runs, name, scenario) for name in ("p50_ms", "p90_ms", "p99_ms")))
        for case, runs in rounds.items()
    ]
    return _table(("contender", "images/s offered", "p50 ms", "p90 ms", "p99 ms"), rows)


def _gate(rounds: Rounds, scenario: Scenario) -> str:
    stability = scenario.stability
    rows = []
    for case, runs in rounds.items():
        little, textbook = (rounds[replace(case, contender=name)] for name in ("little", "textbook"))
        cells = [
            of_measure(runs, "images_per_second", stability).text(0),
            ratio(runs, textbook, "images_per_second", stability).text(2),
        ]
        bare, all_of_ours, all_of_theirs = (server_cpu(of) for of in (little, runs, textbook))
        is_gate = case.contender != "little"
        costs = [
            (gate_cpu(runs, case.contender), gate_cpu(textbook, "textbook")) if is_gate else None,
            (all_of_ours, all_of_theirs),
            (_minus(all_of_ours, bare), _minus(all_of_theirs, bare)) if is_gate else None,
        ]
        for cost in costs:
            if cost is None:
                cells += ["", ""]
                continue
            ours, theirs = cost
            relative = [one / other for one, other in zip(ours, theirs, strict=True)]
            cells += [
                figure(ours, [runs, little], stability).text(3),
                figure(relative, [runs, textbook], stability).text(2),
            ]
        rows.append((case.contender, str(case.clients), *cells, of_measure(runs, "p50_ms", stability).text(1)))
    against = "x textbook"
    heads = (
        "gate",
        "clients",
        "requests/s",
        against,
        "CPU ms/request: the gate's",
        against,
        "all the server's",
        against,
    )
    return _table((*heads, "over little's", against, "p50 ms"), rows)


def gate_cpu(runs: Sequence[Measures], gate: str) -> list[float]:
    """CPU milliseconds per request of a gate's own processes, a value per round."""
    return [run[f"cpu_ms_per_image_{gate}"] for run in runs]


def server_cpu(runs: Sequence[Measures]) -> list[float]:
    """The same of all the server's processes: tritonserver, the gate, the stages."""
    return [sum(value for name, value in run.items() if name.startswith("cpu_ms_per_image_")) for run in runs]


def _minus(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [one - other for one, other in zip(ours, theirs, strict=True)]


def _cpu(runs: Sequence[Measures], scenario: Scenario) -> str:
    total = figure(server_cpu(runs), [runs], scenario.stability)
    return total.text(1) if any(total.values) else ""


def _text(runs: Sequence[Measures], name: str, scenario: Scenario) -> str:
    return of_measure(runs, name, scenario.stability).text() if all(name in run for run in runs) else ""


def _middle(runs: Sequence[Measures], name: str) -> str:
    return f"{statistics.median(run[name] for run in runs if name in run):.1f}"


def _rounds(rounds: Rounds) -> list[dict[str, Any]]:
    return [{**asdict(case), "rounds": [dict(run) for run in runs]} for case, runs in rounds.items()]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
