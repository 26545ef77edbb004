"""Which measurements make a report: throughput against the bound, and the gate alone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from littlebig_benchmarks import images, in_process, machine, perf_analyzer
from littlebig_benchmarks.measuring import IN_PROCESS, Bench
from littlebig_benchmarks.rounds import Case, Measures, interleaved
from littlebig_benchmarks.scenario import Scenario
from littlebig_benchmarks.serving import Served, look_at, serving, serving_stages_that_do_nothing

Tell = Callable[[str], None]


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
        gate: case -> rounds, on stages that do nothing.
        notes: what was left out, and other remarks.
    """

    machine: dict[str, str] = field(default_factory=dict)
    throughput: dict[Case, list[Measures]] = field(default_factory=dict)
    gate: dict[Case, list[Measures]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def run(subject: Subject, scenario: Scenario, tell: Tell) -> Results:
    """Measure.

    Raises:
        BenchmarkError: with one line that says what was wrong and what to do.
        ServerError: if the server does not start.
    """
    analyzer = perf_analyzer.version(subject.perf_analyzer)
    results = Results()
    version = ""
    if set(scenario.parts) - {"gate"}:
        with (
            tempfile.TemporaryDirectory(prefix="littlebig-bench-") as folder,
            _real(subject, scenario, folder) as served,
        ):
            version = served.version
            _on_real_stages(subject, scenario, served, Path(folder), results, tell)
    if "gate" in scenario.parts:
        if subject.repository is None:
            results.notes.append("The gate alone was not measured: it needs a server of its own, so --repository.")
        else:
            version = _gate_alone(subject, subject.repository, scenario, results, tell)
    results.machine = machine.describe(version, analyzer)
    return results


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
    if "throughput" in scenario.parts:
        cases = throughput_cases(scenario, contenders(scenario.variants, served, results.notes))
        results.throughput = interleaved(cases, scenario.rounds, bench.run, tell)
        if bench.layout is not None:
            results.notes.append(f"The in-process cascade's fastest layout here was {bench.layout}.")


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


def _gate_alone(subject: Subject, repository: Path, scenario: Scenario, results: Results, tell: Tell) -> str:
    with tempfile.TemporaryDirectory(prefix="littlebig-bench-") as name:
        folder = Path(name)
        (folder / "models").mkdir()
        starting = serving_stages_that_do_nothing(
            repository, scenario.variants, folder / "models", subject.tritonserver
        )
        with starting as served:
            escalation = scenario.escalations[0]
            pictures = images.for_stages_that_do_nothing(40, escalation, served.shape, scenario.seed)
            bench = Bench(served, pictures, subject.perf_analyzer, folder, scenario.seconds, scenario.seed)
            cases = [
                Case(contender, escalation, scenario.gate_clients)
                for contender in ("little_big", *scenario.variants, "textbook")
            ]
            results.gate = interleaved(cases, scenario.rounds, bench.run, lambda line: tell(f"gate alone, {line}"))
            return served.version
