"""`littlebig plan`: how many GPUs a load needs with the cascade and with big alone, from measured stage times."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from littlebig_benchmarks.errors import BenchmarkError
from littlebig_benchmarks.images import CANDIDATES, crops, look_through, photographs
from littlebig_benchmarks.planning import report
from littlebig_benchmarks.planning.arrivals import BALANCING, OpenLoad
from littlebig_benchmarks.planning.curves import StageCurves, read_curves, write_curves
from littlebig_benchmarks.planning.measuring import measure
from littlebig_benchmarks.planning.planner import Search, Target, plan
from littlebig_benchmarks.planning.validating import Point, Trial, validate
from littlebig_benchmarks.serving import Served, look_at
from littlebig_cli.failures import Failure, report_failures
from littlebig_server import ServerError, ServerSettings, TritonServer

LOAD = OpenLoad(1.0)
SEARCH = Search()
TRIAL = Trial(escalation=0.0)
POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command(
    epilog="Example:  littlebig plan --measure --repository build/model_repository && "
    "littlebig plan --rate 5000 --escalation 0.15 --target-p99 50"
)
@click.option("--pair", metavar="NAME", default="efficientnet-lite", show_default=True, help="The pair, by its name.")
@click.option("--rate", type=float, help="Images per second for all replicas together.")
@click.option("--escalation", type=float, help="Share of images that little is unsure of; the calibration tells it.")
@click.option("--target-p99", type=float, metavar="MS", help="Within which 99 % of all images must be answered.")
@click.option(
    "--balancing", type=click.Choice(BALANCING), default=LOAD.balancing, show_default=True, help="Of the replicas."
)
@click.option(
    "--burst", type=float, default=LOAD.burst, show_default=True, help="Rate of bursts over the mean rate; 1 for none."
)
@click.option("--burst-seconds", type=float, default=LOAD.burst_seconds, show_default=True, help="Mean length of one.")
@click.option(
    "--curves",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file of measured stage times.  [default: build/curves/PAIR.json]",
)
@click.option("--measure", "measuring", is_flag=True, help="First measure a server's stages, and write --curves.")
@click.option("--validate", "validating", is_flag=True, help="Compare the simulation with a server under real load.")
@click.option("--repository", type=click.Path(path_type=Path), help="Serve this one to measure or validate.")
@click.option("--url", metavar="HOST:PORT", help="Measure or validate this running server (gRPC), which nobody uses.")
@click.option("--device", metavar="NAME", help="What the server's stages run on, in words; needed with --url.")
@click.option("--tritonserver", type=click.Path(path_type=Path), metavar="PATH", help="The binary, as for serve.")
@click.option(
    "--images",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Photographs for --validate.  [default: those that come with scikit-image]",
)
@click.option("--seconds", type=POSITIVE, default=TRIAL.seconds, show_default=True, help="Of each run of --validate.")
@click.option(
    "--rounds", type=click.IntRange(min=1), default=TRIAL.rounds, show_default=True, help="Runs per point of it."
)
@click.option(
    "--simulated",
    type=click.IntRange(min=1000),
    default=SEARCH.requests,
    show_default=True,
    help="Images per simulation.",
)
@click.option("--seed", type=int, default=SEARCH.seed, show_default=True, help="Of all chance: same seed, same plan.")
@click.option("--format", "form", type=click.Choice(["md", "json"]), default="md", show_default=True, help="Output.")
@report_failures(BenchmarkError, ServerError)
def command(
    pair: str,
    rate: float | None,
    escalation: float | None,
    target_p99: float | None,
    balancing: str,
    burst: float,
    burst_seconds: float,
    path: Path | None,
    measuring: bool,
    validating: bool,
    repository: Path | None,
    url: str | None,
    device: str | None,
    tritonserver: Path | None,
    images: Path | None,
    seconds: float,
    rounds: int,
    simulated: int,
    seed: int,
    form: str,
) -> None:
    """Plan how many GPUs a load needs, with the cascade and with big alone, from stage times measured before.

    --measure takes those times from a server on the device that will serve; --validate tells how far the simulation is
    off there. Without either, no server is needed.
    """
    if (rate, target_p99) == (None, None) and not (measuring or validating):
        raise click.UsageError("give --rate, --escalation and --target-p99 for a plan, or --measure, or --validate")
    if validating and escalation is None:
        raise click.UsageError("--validate needs --escalation, such as 0.15")
    target = None
    if rate is not None or target_p99 is not None:
        if rate is None or escalation is None or target_p99 is None:
            raise click.UsageError("a plan needs all of --rate, --escalation and --target-p99")
        target = Target(OpenLoad(rate, 1, balancing, burst, burst_seconds), escalation, target_p99)
    trial = Trial(escalation or 0.0, seconds=seconds, rounds=rounds, seed=seed) if validating else None
    path = path or Path("build", "curves", f"{pair}.json")
    known = None if measuring else read_curves(path, pair)
    points: list[Point] = []
    if known is not None and trial is None:
        curves = known
    else:
        with _server(pair, repository, url, device, tritonserver) as served:
            curves = known or _measured(served, pair, device, path)
            points = _validated(served, curves, trial, images) if trial is not None else []
    search = Search(requests=simulated, seed=seed)
    found = plan(curves, target, search, _tell) if target is not None else None
    if form == "json":
        click.echo(report.as_json(curves, found, search, points))
        return
    parts = [report.curves_as_markdown(curves)] if measuring else []
    parts += [report.validation_as_markdown(points, trial)] if trial is not None else []
    parts += [report.plan_as_markdown(curves, found, search)] if found is not None else []
    click.echo("\n".join(parts), nl=False)


def _measured(served: Served, pair: str, device: str | None, path: Path) -> StageCurves:
    write_curves(path, measure(served, pair, device, _tell))
    _tell(f"wrote {path}")
    return read_curves(path, pair)  # rounded as it is kept: the same plan now and from the file later


def _validated(served: Served, curves: StageCurves, trial: Trial, images: Path | None) -> list[Point]:
    _tell("look through the images")
    pictures = look_through(served, crops(photographs(images), CANDIDATES, trial.seed))
    return validate(served, curves, pictures, trial, _tell)


@contextmanager
def _server(
    pair: str, repository: Path | None, url: str | None, device: str | None, binary: Path | None
) -> Iterator[Served]:
    if (url is None) == (repository is None):
        raise click.UsageError(
            "--measure and --validate need a server: give either --repository DIR or --url HOST:PORT"
        )
    if repository is not None:
        _check_pair(repository, pair)
        with TritonServer(repository, ServerSettings(tritonserver=binary, model="little_big")) as running:
            yield look_at(running.grpc_url, running.pid, repository)
    elif url is not None:
        if device is None:
            raise click.UsageError("--url needs --device NAME: a server does not tell what its stages run on")
        yield look_at(url)


def _check_pair(repository: Path, pair: str) -> None:
    """A repository says which pair it is of; times of another one would be kept under a wrong name."""
    try:
        name = json.loads((repository / "littlebig.json").read_text(encoding="utf-8"))["pair"]["name"]
    except (OSError, ValueError, KeyError, TypeError):
        raise Failure(
            f"'{repository}' has no readable littlebig.json: make a repository with 'littlebig export --output DIR'"
        ) from None
    if name != pair:
        raise Failure(
            f"'{repository}' is of the pair '{name}', not '{pair}': give --pair {name}, or another repository"
        )


def _tell(line: str) -> None:
    click.echo(line, err=True)
