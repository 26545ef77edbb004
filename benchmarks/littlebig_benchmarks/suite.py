"""Runs the measurements of a report, part by part: see `scenario.PARTS`."""

from __future__ import annotations

import datetime
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from littlebig_benchmarks import front_door, images, in_process, machine, overload, perf_analyzer
from littlebig_benchmarks.endpoint import Endpoint
from littlebig_benchmarks.errors import BenchmarkError
from littlebig_benchmarks.figures import bound
from littlebig_benchmarks.measuring import IN_PROCESS, Bench
from littlebig_benchmarks.rounds import Case, Measures, interleaved
from littlebig_benchmarks.scenario import Scenario
from littlebig_benchmarks.serving import Served, inspect, serving, serving_stages_that_do_nothing
from littlebig_contract.provenance import ProvenanceError, read_provenance
from littlebig_server import ServerError

Report = Callable[[str], None]
# Request rate of the part `latency`, as a fraction of the bound: queues stay short, so the latency is the gate's own.
MODERATE = 0.6
# At higher fractions of a model's throughput its queue only grows, and the latency is the length of the run.
_SUSTAINED = 0.95
_FEW_ROUNDS = 3
# Parts whose requests are all sent by our own load generator.
_WITHOUT_PERF_ANALYZER = frozenset({"front_door", "overload"})


@dataclass(frozen=True)
class Subject:
    """What is measured, and with what.

    Attributes:
        repository: a pair's model repository; None with `endpoint`.
        endpoint: of a running server, in place of a repository.
        pictures: folder of photographs; None for scikit-image's.
        perf_analyzer: the binary; None where no part needs it.
        tritonserver: the binary; None to find one.
        trial: the load of the part `overload`.
        overload_pictures: its pictures; None for crops of photographs, without labels.
    """

    repository: Path | None
    endpoint: Endpoint | None
    pictures: Path | None
    perf_analyzer: str | None
    tritonserver: Path | None = None
    trial: overload.Trial = field(default_factory=overload.Trial)
    overload_pictures: overload.Labelled | None = None


@dataclass
class Results:
    """The rounds of all measurements.

    Attributes:
        machine: and versions.
        throughput: case -> rounds, on the real stages.
        front_door: case -> rounds, small and large files beside canonical images.
        latency: case -> rounds, sure and unsure images separately.
        rates: case -> rounds, at several request rates.
        gate: case -> rounds, on stages that do nothing; `little` is such a stage without a gate.
        overload: the outcome of the overload; None if it was not measured.
        notes: what was left out, and other remarks.
        stopped: why the measurement ended early; empty if it did not.
    """

    machine: dict[str, str] = field(default_factory=dict)
    throughput: dict[Case, list[Measures]] = field(default_factory=dict)
    front_door: dict[Case, list[Measures]] = field(default_factory=dict)
    latency: dict[Case, list[Measures]] = field(default_factory=dict)
    rates: dict[Case, list[Measures]] = field(default_factory=dict)
    gate: dict[Case, list[Measures]] = field(default_factory=dict)
    overload: overload.Outcome | None = None
    notes: list[str] = field(default_factory=list)
    stopped: str = ""

    @property
    def parts(self) -> dict[str, dict[Case, list[Measures]]]:
        """The parts that are measured in rounds, by the names of `scenario.PARTS`."""
        return {
            "throughput": self.throughput,
            "front_door": self.front_door,
            "latency": self.latency,
            "rates": self.rates,
            "gate": self.gate,
        }

    @property
    def empty(self) -> bool:
        """Whether there is nothing to report."""
        return self.overload is None and not any(self.parts.values())


def needs_perf_analyzer(scenario: Scenario) -> bool:
    """Whether any part of a scenario is measured with perf_analyzer."""
    return not _WITHOUT_PERF_ANALYZER.issuperset(scenario.parts)


def run(subject: Subject, scenario: Scenario, report: Report) -> Results:
    """Measure all parts of a scenario.

    An error or interrupt after a part's first round keeps the complete rounds; `stopped` then says what happened.

    Raises:
        BenchmarkError: with one line that says what was wrong and what to do.
        ServerError: if the server does not start.
        KeyboardInterrupt: if Ctrl-C came before the first round was complete.
    """
    analyzer = perf_analyzer.version(subject.perf_analyzer) if subject.perf_analyzer else None
    # Read at the start: a commit made during the measurement is not what is measured.
    results = Results(machine={**_about(subject), **machine.describe("", analyzer)})
    try:
        _measure(subject, scenario, results, report)
    except (BenchmarkError, ServerError, KeyboardInterrupt) as reason:
        if results.empty:
            raise
        results.stopped = str(reason) or "interrupted"
        results.notes.append(_progress(results, scenario))
    if any(len(runs) < _FEW_ROUNDS for cases in results.parts.values() for runs in cases.values()):
        results.notes.append(f"Fewer than {_FEW_ROUNDS} rounds say little about how stable the machine was.")
    return results


def _about(subject: Subject) -> dict[str, str]:
    """The pair, where the repository names it, and the day."""
    day = {"measured": datetime.date.today().isoformat()}
    try:
        return {"pair": read_provenance(subject.repository)["pair"]["name"], **day} if subject.repository else day
    except ProvenanceError:
        return day


def _remote_stages(subject: Subject) -> list[str]:
    """A note for each stage that another server computes."""
    try:
        stages = read_provenance(subject.repository)["stages"] if subject.repository else {}
    except ProvenanceError:
        return []
    return [
        f"{stage} is computed by the server {facts['remote']}: its CPU time and memory are not counted."
        for stage, facts in stages.items()
        if "remote" in facts
    ]


def _progress(results: Results, scenario: Scenario) -> str:
    rounds = {
        part: len(next(iter(results.parts[part].values()), [])) for part in scenario.parts if part in results.parts
    }
    complete = ", ".join(f"{part} {number} of {scenario.rounds}" for part, number in rounds.items())
    return f"Stopped early: {results.stopped}. The tables are of the complete rounds: {complete}."


def _measure(subject: Subject, scenario: Scenario, results: Results, report: Report) -> None:
    if set(scenario.parts) - {"gate", "overload"}:
        with (
            tempfile.TemporaryDirectory(prefix="littlebig-bench-") as folder,
            _real_stages(subject, scenario, folder) as served,
        ):
            results.machine["tritonserver"] = served.version
            _on_real_stages(subject, scenario, served, Path(folder), results, report)
    for part, name, measure in (("gate", "The gate alone", _gate_alone), ("overload", "The overload", _overload)):
        if part not in scenario.parts:
            continue
        if subject.repository is None:
            results.notes.append(f"{name} was not measured: it needs a server of its own, so --repository.")
        else:
            measure(subject, subject.repository, scenario, results, report)


@contextmanager
def _real_stages(subject: Subject, scenario: Scenario, folder: str) -> Iterator[Served]:
    if subject.endpoint is not None:
        yield inspect(subject.endpoint)
        return
    assert subject.repository is not None  # noqa: S101  (one of both is given)
    models = Path(folder) / "models"
    models.mkdir()
    with serving(subject.repository, scenario.variants, models, subject.tritonserver) as served:
        yield served


def _on_real_stages(
    subject: Subject, scenario: Scenario, served: Served, folder: Path, results: Results, report: Report
) -> None:
    encoded = images.crops(images.photographs(subject.pictures), images.CANDIDATES, scenario.seed)
    pictures = images.look_through(served, encoded)
    report(f"{len(encoded)} crops of photographs, little is unsure of {int(pictures.unsure.sum())}")
    results.notes.extend(_remote_stages(subject))
    bench = Bench(served, pictures, subject.perf_analyzer, folder, scenario.seconds, scenario.seed)
    names = contenders(scenario.variants, served, results.notes)

    def measure(part: str, cases: Sequence[Case], run: Callable[[Case], Measures] = bench.run) -> None:
        def with_part(line: str) -> None:
            report(f"{part}, {line}")

        interleaved(cases, scenario.rounds, run, with_part, results.parts[part])

    if "throughput" in scenario.parts:
        try:
            measure("throughput", throughput_cases(scenario, names))
        finally:  # the note belongs to the complete rounds too
            if bench.layout is not None:
                results.notes.append(f"The in-process cascade's fastest layout here was {bench.layout}.")
    if "front_door" in scenario.parts:
        if "classify" in served.models:
            report("front_door: make files of 12 megapixels")
            measure("front_door", front_door.cases(scenario), front_door.FrontDoor(bench).run)
        else:
            results.notes.append("The front door was not measured: the server does not have classify.")
    if "latency" in scenario.parts or "rates" in scenario.parts:
        pace = find_pace(scenario, results.throughput, bench.run)
        gates = [name for name in names if name not in ("classify", IN_PROCESS)]
        if "latency" in scenario.parts:
            measure("latency", latency_cases(scenario, gates, pace))
        if "rates" in scenario.parts:
            measure("rates", rate_cases(scenario, [name for name in gates if name != "textbook"], pace))


@dataclass(frozen=True)
class Pace:
    """The throughput of this machine, from which request rates are derived.

    Attributes:
        big: images per second of big alone.
        limit: the bound of the cascade, images per second.
    """

    big: float
    limit: float


def find_pace(
    scenario: Scenario, throughput: Mapping[Case, Sequence[Measures]], measure: Callable[[Case], Measures]
) -> Pace:
    """The pace, from the throughput already measured, or by one run of each stage."""
    concurrency, escalation = scenario.concurrency[-1], scenario.escalations[0]

    def rate(case: Case) -> float:
        runs = throughput.get(case) or [measure(case)]
        return statistics.median(run["images_per_second"] for run in runs)

    big = rate(Case("big", None, concurrency))
    limit = bound(rate(Case("little", None, concurrency)), big, escalation)
    return Pace(big, limit)


def latency_cases(scenario: Scenario, gates: Sequence[str], pace: Pace) -> list[Case]:
    """The full concurrency, a moderate request rate, and a concurrency of 1; each with little beside the gates."""
    concurrency, escalation = scenario.concurrency[-1], scenario.escalations[0]
    moderate = MODERATE * pace.limit
    everyone = ["little", *gates]
    return [
        *(Case(name, escalation, concurrency, own_load=True) for name in everyone),
        *(Case(name, escalation, request_rate=moderate, own_load=True) for name in everyone if name != "textbook"),
        *(Case(name, escalation, 1, own_load=True) for name in everyone if name != "textbook"),
    ]


def rate_cases(scenario: Scenario, gates: Sequence[str], pace: Pace) -> list[Case]:
    """Request rates as fractions of the bound: for the gates, and for big alone up to its throughput."""
    escalation = scenario.escalations[0]
    rates = [fraction * pace.limit for fraction in scenario.request_rates]
    return [
        *(Case(name, escalation, request_rate=rate) for name in gates for rate in rates),
        *(Case("big", escalation, request_rate=rate) for rate in rates if rate < _SUSTAINED * pace.big),
    ]


def contenders(variants: Mapping[str, Path], served: Served, notes: list[str]) -> list[str]:
    """The contenders on the real stages beside little and big; a note for each that is not available."""
    wanted = ["little_big", *variants, "textbook", "classify"]
    available = [name for name in wanted if name in served.models]
    notes.extend(f"{name} was not measured: the server does not have it." for name in wanted if name not in available)
    if served.repository is not None and in_process.graphs(served.repository) is not None:
        available.append(IN_PROCESS)
    else:
        notes.append("The in-process cascade was not measured: it needs the ONNX graphs of --repository.")
    return available


def throughput_cases(scenario: Scenario, names: Sequence[str]) -> list[Case]:
    """Little and big alone, and every contender at every escalation rate, at every concurrency."""
    cases = []
    for concurrency in scenario.concurrency:
        cases += [Case("little", None, concurrency), Case("big", None, concurrency)]
        cases += [Case(name, rate, concurrency) for rate in scenario.escalations for name in names]
    return cases


def _gate_alone(subject: Subject, repository: Path, scenario: Scenario, results: Results, report: Report) -> None:
    with tempfile.TemporaryDirectory(prefix="littlebig-bench-") as name:
        folder = Path(name)
        (folder / "models").mkdir()
        with serving_stages_that_do_nothing(
            repository, scenario.variants, folder / "models", subject.tritonserver
        ) as served:
            results.machine["tritonserver"] = served.version
            escalation = scenario.escalations[0]
            pictures = images.for_stages_that_do_nothing(40, escalation, served.shape, scenario.seed)
            bench = Bench(served, pictures, subject.perf_analyzer, folder, scenario.seconds, scenario.seed)
            cases = [
                Case(contender, escalation, concurrency)
                for concurrency in scenario.gate_concurrency
                for contender in ("little", "little_big", *scenario.variants, "textbook")
            ]
            interleaved(cases, scenario.rounds, bench.run, lambda line: report(f"gate, {line}"), results.gate)


def _overload(subject: Subject, repository: Path, scenario: Scenario, results: Results, report: Report) -> None:
    pictures = subject.overload_pictures
    if pictures is None:
        encoded = images.crops(images.photographs(subject.pictures), images.CANDIDATES, scenario.seed)
        pictures = overload.Labelled(encoded)
    results.overload = overload.run(repository, pictures, subject.trial, report, subject.tritonserver)
    results.machine["tritonserver"] = results.overload.version
