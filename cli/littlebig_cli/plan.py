"""`littlebig plan`: the replicas that a request rate needs with the cascade and with big alone, from stage curves."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from littlebig_benchmarks.endpoint import Plain
from littlebig_benchmarks.errors import BenchmarkError
from littlebig_benchmarks.planning import report
from littlebig_benchmarks.planning.capacity import UTILISATION, Target, plan
from littlebig_benchmarks.planning.curves import StageCurves, read_curves, write_curves
from littlebig_benchmarks.planning.measuring import measure
from littlebig_benchmarks.planning.pools import Pool, Prices, split
from littlebig_benchmarks.serving import Served, inspect
from littlebig_cli.connection import add_connection_options, given_connection
from littlebig_cli.failures import Failure, report_failures
from littlebig_cli.numbers import Number
from littlebig_cli.renamed import renamed_option
from littlebig_client import Connection
from littlebig_contract.provenance import ProvenanceError, read_provenance
from littlebig_server import ServerError, ServerSettings, TritonServer

_P99 = "latency is measured, with 'littlebig bench --only rates' on the device"
_SIMULATION = f"plan no longer simulates; leave headroom with --utilisation; {_P99}"
_REMOVED = {
    "--target-p99": f"plan with --utilisation; {_P99}",
    "--validate": _P99,
    "--balancing": _SIMULATION,
    "--burst": _SIMULATION,
    "--burst-seconds": _SIMULATION,
    "--simulated": _SIMULATION,
}


def _removed_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option, remedy in _REMOVED.items():
        command = renamed_option(option, remedy)(command)
    return command


@click.command(
    epilog="Example:  littlebig plan --measure --repository build/model_repository && "
    "littlebig plan --rate 5000 --escalation 0.15"
)
@click.option("--pair", metavar="NAME", default="efficientnet-lite", help="Name of the pair to plan for.")
@click.option("--rate", type=Number(), help="Images per second for all replicas together.")
@click.option(
    "--escalation",
    type=Number(),
    help="Fraction of images that big sees, as littlebig calibrate and the metrics report.",
)
@click.option(
    "--utilisation",
    type=Number(),
    default=UTILISATION,
    help="Largest fraction of a replica's capacity to use; the rest is for bursts and keeps queues short.",
)
@click.option(
    "--curves",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file of stage curves.  [default: build/curves/PAIR.json]",
)
@click.option(
    "--big-curves",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Curves of big's own device: plan two pools, with little and the gate on the device of --curves.",
)
@click.option("--price", type=Number(), help="Cost of one replica per hour; with --big-curves, of little's pool.")
@click.option("--big-price", type=Number(), help="Cost per hour of one replica of big's pool.")
@click.option("--measure", "measuring", is_flag=True, help="Measure the stages of a server first, and write --curves.")
@click.option("--repository", type=click.Path(path_type=Path), help="Model repository to serve for --measure.")
@add_connection_options("Running server (gRPC) for --measure, host:port; it must have no other users.")
@click.option("--device", metavar="NAME", help="Name of the device behind --url.")
@click.option("--tritonserver", type=click.Path(path_type=Path), metavar="PATH", help="The binary, as for serve.")
@click.option("--format", "form", type=click.Choice(["md", "json"]), default="md", help="Print Markdown or JSON.")
@_removed_options
@report_failures(BenchmarkError, ServerError)
def command(
    pair: str,
    rate: float | None,
    escalation: float | None,
    utilisation: float,
    path: Path | None,
    big_curves: Path | None,
    price: float | None,
    big_price: float | None,
    measuring: bool,
    repository: Path | None,
    connection: dict[str, Any],
    device: str | None,
    tritonserver: Path | None,
    form: str,
) -> None:
    """Compute how many GPUs a request rate needs, with the cascade and with big alone.

    With --big-curves, the cascade is split into two pools (docs/remote.md).

    The computation uses stage curves, which --measure takes from a server on the device that will serve. A plan from
    existing curves needs no server.
    """
    if rate is None and not measuring:
        raise click.UsageError("give --rate and --escalation for a plan, or --measure")
    if rate is not None and escalation is None:
        raise click.UsageError("--rate needs --escalation, such as 0.15")
    if big_curves is None and (price is not None or big_price is not None):
        raise click.UsageError("--price and --big-price are for two pools: give --big-curves too")
    target = None if rate is None or escalation is None else Target(rate, escalation, utilisation)
    path = path or Path("build", "curves", f"{pair}.json")
    if measuring:
        with _server(pair, repository, given_connection(connection), device, tritonserver) as served:
            write_curves(path, measure(served, pair, device, _echo))
        _echo(f"wrote {path}")
    curves: StageCurves = read_curves(path, pair)
    result = None if target is None else plan(curves, target)
    pools: tuple[Pool, ...] = ()
    if target is not None and big_curves is not None:
        pools = split(curves, read_curves(big_curves, pair), target, Prices(price, big_price))
    if form == "json":
        click.echo(report.as_json(curves, result, pools))
        return
    parts = [report.curves_as_markdown(curves)] if measuring else []
    if target is not None and pools:
        parts.append(report.pools_as_markdown(target, pools))
    elif result is not None:
        parts.append(report.plan_as_markdown(curves, result))
    click.echo("\n".join(parts), nl=False)


@contextmanager
def _server(
    pair: str, repository: Path | None, running: Connection | None, device: str | None, binary: Path | None
) -> Iterator[Served]:
    if (running is None) == (repository is None):
        raise click.UsageError("--measure needs a server: give either --repository DIR or --url HOST:PORT")
    if repository is not None:
        _check_pair(repository, pair)
        with TritonServer(repository, ServerSettings(tritonserver=binary, model="little_big")) as server:
            yield inspect(Plain(server.grpc_url), server.pid, repository)
    elif running is not None:
        if device is None:
            raise click.UsageError("--url needs --device NAME: a server does not report what its stages run on")
        yield inspect(running)


def _check_pair(repository: Path, pair: str) -> None:
    """Refuse a repository of another pair, whose times would be stored under a wrong name."""
    try:
        name = read_provenance(repository)["pair"]["name"]
    except ProvenanceError as reason:
        raise Failure(str(reason)) from reason
    if name != pair:
        raise Failure(
            f"'{repository}' is of the pair '{name}', not '{pair}': give --pair {name}, or another repository"
        )


def _echo(line: str) -> None:
    click.echo(line, err=True)
