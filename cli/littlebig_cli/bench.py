"""`littlebig bench`: the cascade against its parts, its bound and two baselines, measured side by side."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from littlebig_benchmarks.errors import BenchmarkError
from littlebig_benchmarks.perf_analyzer import find_perf_analyzer
from littlebig_benchmarks.plots import draw
from littlebig_benchmarks.report import as_json, as_markdown
from littlebig_benchmarks.scenario import PARTS, Scenario, Stability
from littlebig_benchmarks.suite import Subject, run
from littlebig_cli.failures import Failure, report_failures
from littlebig_cli.measured import as_typed, export_default_pair, repository_option
from littlebig_server import ServerError

DEFAULT = Scenario()
SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command(epilog="Example:  littlebig bench --only gate --variant threads=build/gate_with_threads")
@repository_option
@click.option("--url", metavar="HOST:PORT", help="Measure this running server (KServe gRPC) instead of serving one.")
@click.option(
    "--perf-analyzer", "analyzer", metavar="PATH", help="The perf_analyzer to use.  [default: the one on PATH]"
)
@click.option("--tritonserver", type=click.Path(path_type=Path), metavar="PATH", help="The binary, as for serve.")
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Photographs to take crops of.  [default: those that come with scikit-image]",
)
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="Only this measurement; may be repeated.")
@click.option("--rounds", type=click.IntRange(min=1), default=DEFAULT.rounds, show_default=True, help="Rounds.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT.seconds,
    show_default=True,
    help="Aimed length of one run.",
)
@click.option(
    "--escalation",
    type=SHARE,
    multiple=True,
    default=DEFAULT.escalations,
    show_default=True,
    help="Share of images that little is unsure of; may be repeated.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    multiple=True,
    default=DEFAULT.concurrency,
    show_default=True,
    help="Clients that ask one image after another; may be repeated.",
)
@click.option(
    "--gate-clients",
    type=click.IntRange(min=1),
    multiple=True,
    default=DEFAULT.gate_clients,
    show_default=True,
    help="For the gate alone; may be repeated.",
)
@click.option(
    "--variant", "variants", metavar="NAME=DIR", multiple=True, help="Another gate to measure too; may be repeated."
)
@click.option("--seed", type=int, default=DEFAULT.seed, show_default=True, help="Of the crops and their order.")
@click.option(
    "--max-spread",
    type=click.FloatRange(min=0, min_open=True),
    default=DEFAULT.stability.spread,
    show_default=True,
    help="A median whose interval is wider than this share of it gives no figure.",
)
@click.option(
    "--max-other-load",
    type=SHARE,
    default=DEFAULT.stability.other_load,
    show_default=True,
    help="Runs in which other processes used more of the machine give no figure.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/benchmark"),
    show_default=True,
    help="Folder for report.json, report.md and the plots.",
)
@report_failures(BenchmarkError, ServerError)
def command(
    repository: Path,
    url: str | None,
    analyzer: str | None,
    tritonserver: Path | None,
    images: Path | None,
    only: tuple[str, ...],
    rounds: int,
    seconds: float,
    escalation: tuple[float, ...],
    concurrency: tuple[int, ...],
    gate_clients: tuple[int, ...],
    variants: tuple[str, ...],
    seed: int,
    max_spread: float,
    max_other_load: float,
    output: Path,
) -> None:
    """Measure the cascade against little, big, a textbook gate and a cascade without a server, side by side.

    Ctrl-C, SIGTERM, or a run that fails ends it early, with a report of the rounds that are complete and exit code 1.
    """
    scenario = Scenario(
        parts=only or PARTS,
        rounds=rounds,
        seconds=seconds,
        escalations=tuple(dict.fromkeys(escalation)),
        concurrency=tuple(dict.fromkeys(concurrency)),
        gate_clients=tuple(dict.fromkeys(gate_clients)),
        variants=_variants(variants),
        seed=seed,
        stability=Stability(max_spread, max_other_load),
    )
    binary = find_perf_analyzer(analyzer)
    if url is None and not repository.exists():
        export_default_pair(repository)
    subject = Subject(None if url else repository, url, images, binary, tritonserver)
    with _sigterm_as_ctrl_c():
        results = run(subject, scenario, lambda line: click.echo(line, err=True))
    words = as_typed(sys.argv[1:])
    table = as_markdown(results, scenario, words)
    output.mkdir(parents=True, exist_ok=True)
    (output / "report.json").write_text(as_json(results, scenario, words), encoding="utf-8")
    (output / "report.md").write_text(table, encoding="utf-8")
    draw(results, scenario, output)
    click.echo(table)
    click.echo(f"wrote {output}", err=True)
    if results.stopped:
        raise Failure(f"stopped early, {output} has the complete rounds: {results.stopped}")


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """A `timeout` or an orchestrator ends a long measurement as a user does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _variants(words: tuple[str, ...]) -> dict[str, Path]:
    found = {}
    for word in words:
        name, equals, folder = word.partition("=")
        if not (name and equals and folder):
            raise click.BadParameter(f"'{word}' is not NAME=DIR", param_hint="--variant")
        found[name] = Path(folder)
    return found
