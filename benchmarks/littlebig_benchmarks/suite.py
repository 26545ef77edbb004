"""Which measurements make a report: throughput, latency, latency against offered rate, and the gate alone."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from littlebig_benchmarks import images, in_process, machine, perf_analyzer
from littlebig_benchmarks.errors import BenchmarkError
from littlebig_benchmarks.figures import bound
from littlebig_benchmarks.measuring import IN_PROCESS, Bench
from littlebig_benchmarks.rounds import Case, Measures, interleaved
from littlebig_benchmarks.scenario import Scenario
from littlebig_benchmarks.serving import Served, look_at, serving, serving_stages_that_do_nothing
from littlebig_server import ServerError

Tell = Callable[[str], None]
# Where nothing queues for long: latency is then the gate's own, and not the queue's.
MODERATE = 0.6
# Nearer to what a model can do at most, its queue only grows and its latency is the length of the run.
_FOLLOWS = 0.95
_ROUNDS_THAT_TELL = 3


@dataclass(frozen=True)
class Subject:
    """What is measured, and with what.

    Attributes:
        repository: a pair's model repository; None with `url`.
        url: HOST:PORT of a running server, in place of a repository.
        pictures: folder with more photographs; None for scikit-image's.
        perf_analyzer: the binary.
        tritonserver: the binary; None to find one.
    """

    repository: Path | None
    url: str | None
    pictures: Path | None
    perf_analyzer: str
    tritonserver: Path | None = None


@dataclass
class Results:
    """All rounds of all measurements.

    Attributes:
        machine: and versions.
        throughput: case -> rounds, on the real stages.
        latency: case -> rounds, sure and unsure images apart.
        rates: case -> rounds, over offered rates.
        gate: case -> rounds, on stages that do nothing; `little` is such a stage, asked without any gate.
        notes: what was left out, and other remarks.
        stopped: why not everything was measured; empty if it was.
    """

    machine: dict[str, str] = field(default_factory=dict)
    throughput: dict[Case, list[Measures]] = field(default_factory=dict)
    latency: dict[Case, list[Measures]] = field(default_factory=dict)
    rates: dict[Case, list[Measures]] = field(default_factory=dict)
    gate: dict[Case, list[Measures]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stopped: str = ""

    @property
    def parts(self) -> dict[str, dict[Case, list[Measures]]]:
        """What was measured, by the names of `scenario.PARTS`."""
        return {"throughput": self.throughput, "latency": self.latency, "rates": self.rates, "gate": self.gate}


def run(subject: Subject, scenario: Scenario, tell: Tell) -> Results:
    """Measure.

    What fails or interrupts the measurement after a part's first round does not take the complete rounds with it: the
    results say in `stopped` what it was.

    Raises:
        BenchmarkError: with one line that says what was wrong and what to do.
        ServerError: if the server does not start.
        KeyboardInterrupt: if Ctrl-C came before the first round was complete.
    """
    analyzer = perf_analyzer.version(subject.perf_analyzer)
    # Now, not when it ends: a commit made meanwhile is not what is measured.
    results = Results(machine=machine.describe("", analyzer))
    try:
        _measure(subject, scenario, results, tell)
    except (BenchmarkError, ServerError, KeyboardInterrupt) as reason:
        if not any(results.parts.values()):
            raise
        results.stopped = str(reason) or "interrupted"
        results.notes.append(_how_far(results, scenario))
    if any(len(runs) < _ROUNDS_THAT_TELL for cases in results.parts.values() for runs in cases.values()):
        results.notes.append(f"Fewer than {_ROUNDS_THAT_TELL} rounds say little about how stable the machine was.")
    return results


def _how_far(results: Results, scenario: Scenario) -> str:
    rounds = {part: len(next(iter(results.parts[part].values()), [])) for part in scenario.parts}
    complete = ", ".join(f"{part} {number} of {scenario.rounds}" for part, number in rounds.items())
    return f"Stopped early: {results.stopped}. Complete rounds, which the tables are of: {complete}."


def _measure(subject: Subject, scenario: Scenario, results: Results, tell: Tell) -> None:
    if set(scenario.parts) - {"gate"}:
        with (
            tempfile.TemporaryDirectory(prefix="littlebig-bench-") as folder,
            _real(subject, scenario, folder) as served,
        ):
            results.machine["tritonserver"] = served.version
            _on_real_stages(subject, scenario, served, Path(folder), results, tell)
    if "gate" in scenario.parts:
        if subject.repository is None:
            results.notes.append("The gate alone was not measured: it needs a server of its own, so --repository.")
        else:
            _gate_alone(subject, subject.repository, scenario, results, tell)


@contextmanager
def _real(subject: Subject, scenario: Scenario, folder: str) -> Iterator[Served]:
    if subject.repository is None:
        yield look_at(str(subject.url))
        return
    models = Path(folder) / "models"
    models.mkdir()
    with serving(subject.repository, scenario.variants, models, subject.tritonserver) as served:
        yield served


def _on_real_stages(
    subject: Subject, scenario: Scenario, served: Served, folder: Path, results: Results, tell: Tell
) -> None:
    encoded = images.crops(images.photographs(subject.pictures), images.CANDIDATES, scenario.seed)
    pictures = images.look_through(served, encoded)
    tell(f"{len(encoded)} crops of photographs, little is unsure of {int(pictures.unsure.sum())}")
    bench = Bench(served, pictures, subject.perf_analyzer, folder, scenario.seconds, scenario.seed)
    names = contenders(scenario.variants, served, results.notes)
    if "throughput" in scenario.parts:
        try:
            interleaved(throughput_cases(scenario, names), scenario.rounds, bench.run, tell, results.throughput)
        finally:  # its complete rounds need the note as well
            if bench.layout is not None:
                results.notes.append(f"The in-process cascade's fastest layout here was {bench.layout}.")
    if "latency" in scenario.parts or "rates" in scenario.parts:
        pace = find_pace(scenario, results.throughput, bench.run)
        gates = [name for name in names if name not in ("classify", IN_PROCESS)]
        if "latency" in scenario.parts:
            cases = latency_cases(scenario, gates, pace)
            interleaved(cases, scenario.rounds, bench.run, lambda line: tell(f"latency, {line}"), results.latency)
        if "rates" in scenario.parts:
            cases = rate_cases(scenario, [name for name in gates if name != "textbook"], pace)
            interleaved(cases, scenario.rounds, bench.run, lambda line: tell(f"rates, {line}"), results.rates)


@dataclass(frozen=True)
class Pace:
    """How fast this machine is, so that rates can be offered that mean something on it.

    Attributes:
        big: images per second of big alone with all clients.
        limit: the bound of the cascade.
    """

    big: float
    limit: float


def find_pace(
    scenario: Scenario, throughput: Mapping[Case, Sequence[Measures]], measure: Callable[[Case], Measures]
) -> Pace:
    """The pace, from the throughput already measured, or by one run each."""
    clients, escalation = scenario.concurrency[-1], scenario.escalations[0]

    def rate(case: Case) -> float:
        runs = throughput.get(case) or [measure(case)]
        return statistics.median(run["images_per_second"] for run in runs)

    big = rate(Case("big", None, clients))
    limit = bound(rate(Case("little", None, clients)), big, escalation)
    return Pace(big, limit)


def latency_cases(scenario: Scenario, gates: Sequence[str], pace: Pace) -> list[Case]:
    """Sure and unsure images apart: all clients, one client, a moderate offered rate; each with little beside it."""
    clients, escalation = scenario.concurrency[-1], scenario.escalations[0]
    moderate = MODERATE * pace.limit
    everyone = ["little", *gates]
    return [
        *(Case(name, escalation, clients, apart=True) for name in everyone),
        *(Case(name, escalation, rate=moderate, apart=True) for name in everyone if name != "textbook"),
        *(Case(name, escalation, 1, apart=True) for name in everyone if name != "textbook"),
    ]


def rate_cases(scenario: Scenario, gates: Sequence[str], pace: Pace) -> list[Case]:
    """Offered rates as shares of the bound, for the gates and, as far as it can follow, for big alone."""
    escalation = scenario.escalations[0]
    rates = [share * pace.limit for share in scenario.offered]
    return [
        *(Case(name, escalation, rate=rate) for name in gates for rate in rates),
        *(Case("big", escalation, rate=rate) for rate in rates if rate < _FOLLOWS * pace.big),
    ]


def contenders(variants: Mapping[str, Path], served: Served, notes: list[str]) -> list[str]:
    """Who can be asked on the real stages beside little and big; who cannot is noted."""
    wanted = ["little_big", *variants, "textbook", "classify"]
    found = [name for name in wanted if name in served.models]
    notes.extend(f"{name} was not measured: the server does not have it." for name in wanted if name not in found)
    if served.repository is not None and in_process.graphs(served.repository) is not None:
        found.append(IN_PROCESS)
    else:
        notes.append("The in-process cascade was not measured: it needs the ONNX graphs of --repository.")
    return found


def throughput_cases(scenario: Scenario, names: Sequence[str]) -> list[Case]:
    """Little and big alone, and every contender at every escalation, at every concurrency."""
    cases = []
    for clients in scenario.concurrency:
        cases += [Case("little", None, clients), Case("big", None, clients)]
        cases += [Case(name, rate, clients) for rate in scenario.escalations for name in names]
    return cases


def _gate_alone(subject: Subject, repository: Path, scenario: Scenario, results: Results, tell: Tell) -> None:
    with tempfile.TemporaryDirectory(prefix="littlebig-bench-") as name:
        folder = Path(name)
        (folder / "models").mkdir()
        starting = serving_stages_that_do_nothing(
            repository, scenario.variants, folder / "models", subject.tritonserver
        )
        with starting as served:
            results.machine["tritonserver"] = served.version
            escalation = scenario.escalations[0]
            pictures = images.for_stages_that_do_nothing(40, escalation, served.shape, scenario.seed)
            bench = Bench(served, pictures, subject.perf_analyzer, folder, scenario.seconds, scenario.seed)
            cases = [
                Case(contender, escalation, clients)
                for clients in scenario.gate_clients
                for contender in ("little", "little_big", *scenario.variants, "textbook")
            ]
            interleaved(cases, scenario.rounds, bench.run, lambda line: tell(f"gate alone, {line}"), results.gate)
