"""`littlebig bench`: the cascade beside its stages, its bound and two baselines."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from littlebig_benchmarks.endpoint import perf_analyzer_arguments
from littlebig_benchmarks.errors import BenchmarkError
from littlebig_benchmarks.overload import Labelled, Trial
from littlebig_benchmarks.perf_analyzer import find_perf_analyzer
from littlebig_benchmarks.plots import draw
from littlebig_benchmarks.report import as_json, as_markdown
from littlebig_benchmarks.scenario import DEFAULT_PARTS, PARTS, Scenario, Stability
from littlebig_benchmarks.suite import Results, Subject, needs_perf_analyzer, run
from littlebig_cli.connection import add_connection_options, given_connection
from littlebig_cli.failures import Failure, report_failures
from littlebig_cli.measured import as_typed, export_default_pair, labelled_pictures, overload_options, repository_option
from littlebig_cli.numbers import NumberRange
from littlebig_cli.renamed import renamed_option
from littlebig_server import ServerError

DEFAULT = Scenario()
FRACTION = NumberRange(0, 1, min_open=True, max_open=True)


@click.command(epilog="Example:  littlebig bench --only gate --variant threads=build/gate_with_threads")
@repository_option
@add_connection_options("Measure this running server (gRPC, host:port) instead of starting one.")
@click.option(
    "--perf-analyzer", "analyzer", metavar="PATH", help="The perf_analyzer to use.  [default: the one on PATH]"
)
@click.option("--tritonserver", type=click.Path(path_type=Path), metavar="PATH", help="The binary, as for serve.")
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of photographs to crop.  [default: those that come with scikit-image]",
)
@click.option(
    "--only",
    type=click.Choice(PARTS),
    multiple=True,
    help="Run this measurement alone; may be repeated. overload runs only when it is named here: it takes two minutes "
    "more.  [default: all but overload, about 15 minutes]",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=DEFAULT.rounds,
    help="How often each contender is measured, in turns with the others.",
)
@click.option(
    "--seconds",
    type=NumberRange(min=0, min_open=True),
    default=DEFAULT.seconds,
    help="Length of one run of one contender, in seconds.",
)
@click.option(
    "--escalation",
    type=FRACTION,
    multiple=True,
    default=DEFAULT.escalations,
    help="Fraction of images that little is unsure of; may be repeated. Parts other than throughput use the first.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    multiple=True,
    default=DEFAULT.concurrency,
    help="Requests in flight; may be repeated. latency, front_door and overload use the last.",
)
@click.option(
    "--gate-concurrency",
    type=click.IntRange(min=1),
    multiple=True,
    default=DEFAULT.gate_concurrency,
    help="Requests in flight for the part gate; may be repeated.",
)
@renamed_option("--gate-clients", "use --gate-concurrency")
@click.option(
    "--variant",
    "variants",
    metavar="NAME=DIR",
    multiple=True,
    help="Measure the gate in DIR (config.pbtxt and 1/model.py) too, as NAME; may be repeated.",
)
@click.option("--seed", type=int, default=DEFAULT.seed, help="Seed of crops, their order and arrivals.")
@click.option(
    "--max-spread",
    type=NumberRange(min=0, min_open=True),
    default=DEFAULT.stability.spread,
    help="Refuse a figure whose interval is wider than this fraction of its median.",
)
@click.option(
    "--max-other-load",
    type=FRACTION,
    default=DEFAULT.stability.other_load,
    help="Refuse a figure while other processes use more than this fraction of the machine's CPU time.",
)
@overload_options
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/benchmark"),
    help="Folder for report.json, report.md and the plots.",
)
@report_failures(BenchmarkError, ServerError)
def command(
    repository: Path,
    connection: dict[str, Any],
    analyzer: str | None,
    tritonserver: Path | None,
    images: Path | None,
    only: tuple[str, ...],
    rounds: int,
    seconds: float,
    escalation: tuple[float, ...],
    concurrency: tuple[int, ...],
    gate_concurrency: tuple[int, ...],
    variants: tuple[str, ...],
    seed: int,
    max_spread: float,
    max_other_load: float,
    data: Path | None,
    labels: Path | None,
    pictures: int,
    latency_target: float | None,
    threshold: float | None,
    excess: float,
    overload_seconds: float,
    after: float,
    output: Path,
) -> None:
    """Measure the cascade beside little, big, a textbook gate and a cascade without a server.

    Ctrl-C, SIGTERM or a failed run ends it early, with a report of the complete rounds and exit code 1.
    """
    scenario = Scenario(
        parts=only or DEFAULT_PARTS,
        rounds=rounds,
        seconds=seconds,
        escalations=tuple(dict.fromkeys(escalation)),
        concurrency=tuple(dict.fromkeys(concurrency)),
        gate_concurrency=tuple(dict.fromkeys(gate_concurrency)),
        variants=_variants(variants),
        seed=seed,
        stability=Stability(max_spread, max_other_load),
    )
    trial = Trial(latency_target, excess, overload_seconds, after, scenario.concurrency[-1], threshold, seed)
    _check_data(data, labels, measured="overload" in scenario.parts)
    binary = find_perf_analyzer(analyzer) if needs_perf_analyzer(scenario) else None
    running = given_connection(connection)
    if running is not None and binary is not None:
        perf_analyzer_arguments(running)  # refused now, not after minutes
    if running is None and not repository.exists():
        export_default_pair(repository)
    labelled = None
    if data is not None:
        labelled = Labelled(*labelled_pictures(data, labels, pictures, repository if running is None else None))
    subject = Subject(None if running else repository, running, images, binary, tritonserver, trial, labelled)
    with _sigterm_as_ctrl_c():
        results = run(subject, scenario, lambda line: click.echo(line, err=True))
    _write(results, scenario, trial, output)
    if results.stopped:
        raise Failure(f"stopped early, {output} has the complete rounds: {results.stopped}")


def _write(results: Results, scenario: Scenario, trial: Trial, output: Path) -> None:
    typed = as_typed(sys.argv[1:])
    table = as_markdown(results, scenario, trial, typed)
    output.mkdir(parents=True, exist_ok=True)
    (output / "report.json").write_text(as_json(results, scenario, trial, typed), encoding="utf-8")
    (output / "report.md").write_text(table, encoding="utf-8")
    draw(results, scenario, output)
    click.echo(table)
    click.echo(f"wrote {output}", err=True)


def _check_data(data: Path | None, labels: Path | None, *, measured: bool) -> None:
    if labels is not None and data is None:
        raise click.UsageError("--labels needs --data, the folder of the images.")
    if data is not None and not measured:
        raise click.UsageError("--data is for the overload alone: add --only overload.")


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM end a measurement as Ctrl-C does, for `timeout` and orchestrators."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _variants(words: tuple[str, ...]) -> dict[str, Path]:
    variants = {}
    for word in words:
        name, equals, folder = word.partition("=")
        if not (name and equals and folder):
            raise click.BadParameter(f"'{word}' is not NAME=DIR", param_hint="--variant")
        variants[name] = Path(folder)
    return variants
