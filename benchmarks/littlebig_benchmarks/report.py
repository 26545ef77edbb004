"""The report of a benchmark as JSON and as Markdown."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from littlebig_benchmarks.figures import CONFIDENCE, Figure, exceeds_bound, figure, of_measure, ratio, share_of_bound
from littlebig_benchmarks.measuring import IN_PROCESS
from littlebig_benchmarks.overload import Trial
from littlebig_benchmarks.overload import as_markdown as overload_as_markdown
from littlebig_benchmarks.rounds import Case, Measures
from littlebig_benchmarks.scenario import Scenario
from littlebig_benchmarks.suite import Results
from littlebig_contract.stages import STAGES

_ESTIMATE = (
    "A run exceeds the bound, which is an estimate: it takes from each stage what that costs alone on all cores."
)
Rounds = Mapping[Case, Sequence[Measures]]


def as_json(results: Results, scenario: Scenario, trial: Trial, command: str) -> str:
    """Every round of every measurement, one line per round, numbers to five digits."""
    described = {**asdict(scenario), "variants": sorted(scenario.variants)}
    plain: dict[str, Any] = {
        "format": 2,
        "command": command,
        "machine": results.machine,
        "scenario": described,
        "notes": results.notes,
        "stopped": results.stopped,
    }
    if results.overload is not None:
        plain["overload"] = {"trial": asdict(trial), **asdict(results.overload)}
    lines = [f" {json.dumps(name)}: {json.dumps(_rounded(value))}" for name, value in plain.items()]
    for part, cases in results.parts.items():
        blocks = []
        for case, runs in cases.items():
            rows = ",\n    ".join(json.dumps(_rounded(dict(run))) for run in runs)
            blocks.append(f'  {{{json.dumps(_rounded(asdict(case)))[1:-1]}, "rounds": [\n    {rows}]}}')
        lines.append(f" {json.dumps(part)}: [" + ("\n" + ",\n".join(blocks) if blocks else "") + "]")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def as_markdown(results: Results, scenario: Scenario, trial: Trial, command: str) -> str:
    """The tables: medians over the rounds with their intervals."""
    rounds = f"At most {scenario.rounds}" if results.stopped else str(scenario.rounds)
    parts = [
        "# Benchmark\n",
        f"`{command}`\n",
        f"{rounds} rounds, contenders in turns. A figure is the median over the rounds, in brackets its "
        f"{CONFIDENCE:.0%} confidence interval (of fewer than five rounds, their range). A ratio is taken within each "
        "round.\n",
        _table(("", ""), list(results.machine.items())),
    ]
    if results.throughput:
        parts += ["## Throughput\n", *_throughput(results.throughput, scenario)]
        parts += [
            "Triton's own statistics, medians: images per batch / mean ms in the queue / mean ms of the batch.\n",
            _statistics(results.throughput),
        ]
    if results.front_door:
        parts += [
            "## The front door\n",
            "`classify` on JPEG files of at most 500x500 pixels and of 12 megapixels, beside canonical images. By our "
            "own load generator.\n",
            _front_door(results.front_door, scenario),
        ]
    if results.latency:
        parts += [
            "## Latency of sure and of unsure images\n",
            "By our own load generator. `x little` and `ms over little`: against little under the same load.\n",
            _latency(results.latency, scenario),
        ]
    if results.rates:
        parts += ["## Latency by request rate\n", "Poisson arrivals.\n", _rates(results.rates, scenario)]
    if results.gate:
        parts += [
            "## The gate alone, over stages that do nothing\n",
            "`little` is such a stage without a gate: `over little's` is what a gate adds to a request.\n",
            _gate(results.gate, scenario),
        ]
    if results.overload is not None:
        parts += ["## Overload\n", overload_as_markdown(results.overload, trial)]
    if results.notes:
        parts += ["## Notes\n", "".join(f"* {note}\n" for note in results.notes)]
    return "\n".join(parts)


def _throughput(rounds: Rounds, scenario: Scenario) -> list[str]:
    stability = scenario.stability
    tables = []
    for concurrency in sorted({case.concurrency for case in rounds}):
        little, big = (rounds[Case(stage, None, concurrency)] for stage in STAGES)
        rows: list[tuple[str, ...]] = [
            (name, "", of_measure(runs, "images_per_second", stability).text(), "", "", "", _cpu(runs, scenario))
            for name, runs in (("little", little), ("big", big))
        ]
        shares = []
        for case, runs in rounds.items():
            if case.concurrency != concurrency or case.escalation is None:
                continue
            share, _ = share_of_bound(runs, little, big, stability)
            shares.append(share)
            against = [
                ratio(runs, rounds[other], "images_per_second", stability).text(2) if other in rounds else ""
                for other in (Case(name, case.escalation, concurrency) for name in ("textbook", IN_PROCESS))
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
        estimate = f"\n{_ESTIMATE}\n" if exceeds_bound(shares) else ""
        tables.append(f"Concurrency {concurrency}\n\n{_table(heads, rows)}{estimate}")
    return tables


def _statistics(rounds: Rounds) -> str:
    """Triton's own counts: batch sizes, time in the queue, time of the batches; and the server's memory."""
    rows = []
    for case, runs in rounds.items():
        if case.contender == IN_PROCESS:
            continue
        own = [] if case.contender in STAGES else [case.contender]
        cells = []
        for model in (*STAGES, *own):
            names = [f"{model}_batch", f"{model}_queue_ms", f"{model}_compute_ms"]
            cells.append(" / ".join(_middle(runs, name) for name in names) if names[0] in runs[0] else "")
        memory = [sum(size for name, size in run.items() if name.startswith("memory_mib_")) for run in runs]
        cells += [""] * (3 - len(cells))
        cells.append(f"{max(memory):,.0f}" if any(memory) else "")
        rows.append((str(case), *cells))
    return _table(("", "little", "big", "the gate", "most memory of the whole server, MiB"), rows)


def _latency(rounds: Rounds, scenario: Scenario) -> str:
    stability = scenario.stability
    rows = []
    for case, runs in rounds.items():
        alone = rounds.get(replace(case, contender="little"), runs)
        sure, beside = (of_measure(source, "sure_p50_ms", stability) for source in (runs, alone))
        added = [own - other for own, other in zip(sure.values, beside.values, strict=True)]
        unstable = sure.unstable or beside.unstable
        rows.append(
            (
                str(case),
                of_measure(runs, "images_per_second", stability).text(),
                sure.text(),
                ratio(runs, alone, "sure_p50_ms", stability).text(2),
                Figure(tuple(added), unstable).text(2),
                *(_text(runs, name, scenario) for name in ("sure_p99_ms", "unsure_p50_ms", "unsure_p99_ms")),
            )
        )
    heads = ("", "images/s", "sure p50 ms", "x little", "ms over little", "sure p99", "unsure p50", "unsure p99")
    return _table(heads, rows)


def _front_door(rounds: Rounds, scenario: Scenario) -> str:
    stability = scenario.stability
    canonical = next(runs for case, runs in rounds.items() if case.contender == "little_big")
    rows = []
    for case, runs in rounds.items():
        decoding = [run.get("cpu_ms_per_image_preprocess", 0.0) for run in runs]
        rows.append(
            (
                case.contender,
                of_measure(runs, "escalation", stability).text(1, percent=True),
                of_measure(runs, "images_per_second", stability).text(),
                ratio(runs, canonical, "images_per_second", stability).text(2),
                *(_text(runs, name, scenario) for name in ("p50_ms", "p99_ms")),
                figure(decoding, [runs], stability).text(1) if any(decoding) else "",
                _cpu(runs, scenario),
            )
        )
    heads = ("contender", "escalated", "images/s", "x little_big", "p50 ms", "p99 ms")
    return _table((*heads, "CPU ms/image: preprocess", "the whole server"), rows)


def _rates(rounds: Rounds, scenario: Scenario) -> str:
    rows = [
        (
            case.contender,
            f"{case.request_rate:.0f}",
            *(_text(runs, name, scenario) for name in ("p50_ms", "p90_ms", "p99_ms")),
        )
        for case, runs in rounds.items()
    ]
    return _table(("contender", "request rate, 1/s", "p50 ms", "p90 ms", "p99 ms"), rows)


def _gate(rounds: Rounds, scenario: Scenario) -> str:
    stability = scenario.stability
    rows = []
    for case, runs in rounds.items():
        little, textbook = (rounds[replace(case, contender=name)] for name in ("little", "textbook"))
        cells = [
            of_measure(runs, "images_per_second", stability).text(0),
            ratio(runs, textbook, "images_per_second", stability).text(2),
        ]
        bare, all_of_ours, all_of_theirs = (server_cpu(source) for source in (little, runs, textbook))
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
            relative = [own / other for own, other in zip(ours, theirs, strict=True)]
            cells += [
                figure(ours, [runs, little], stability).text(3),
                figure(relative, [runs, textbook], stability).text(2),
            ]
        rows.append((case.contender, str(case.concurrency), *cells, of_measure(runs, "p50_ms", stability).text(1)))
    against = "x textbook"
    heads = (
        "gate",
        "concurrency",
        "requests/s",
        against,
        "CPU ms/request: the gate's",
        against,
        "the whole server's",
        against,
    )
    return _table((*heads, "over little's", against, "p50 ms"), rows)


def gate_cpu(runs: Sequence[Measures], gate: str) -> list[float]:
    """CPU milliseconds per request of a gate's own processes, one value per round."""
    return [run[f"cpu_ms_per_image_{gate}"] for run in runs]


def server_cpu(runs: Sequence[Measures]) -> list[float]:
    """The same of all the server's processes: tritonserver, the gate, the stages."""
    return [sum(value for name, value in run.items() if name.startswith("cpu_ms_per_image_")) for run in runs]


def _minus(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [own - other for own, other in zip(ours, theirs, strict=True)]


def _cpu(runs: Sequence[Measures], scenario: Scenario) -> str:
    total = figure(server_cpu(runs), [runs], scenario.stability)
    return total.text(1) if any(total.values) else ""


def _text(runs: Sequence[Measures], name: str, scenario: Scenario) -> str:
    return of_measure(runs, name, scenario.stability).text() if all(name in run for run in runs) else ""


def _middle(runs: Sequence[Measures], name: str) -> str:
    return f"{statistics.median(run[name] for run in runs if name in run):.1f}"


def _rounded(value: Any) -> Any:
    """Floats to five significant digits, at any depth; what is not finite becomes null."""
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _rounded(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(entry) for entry in value]
    return value


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
