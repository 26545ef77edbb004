"""`littlebig costs`: the cost per image of each stage of a pair."""

import click

from littlebig_cli.failures import report_failures
from littlebig_contract.onnx_runtime import providers
from littlebig_export.errors import ExportError
from littlebig_export.pair import load_pair


@click.command(epilog="Example:  littlebig costs --pair efficientvit --measure")
@click.option(
    "--pair",
    "pair_name",
    default="efficientnet-lite",
    metavar="NAME|FILE.toml",
    help="A shipped pair or your own (docs/pairs.md).",
)
@click.option("--measure", is_flag=True, help="Also time both stages here, one image at a time, with ONNX Runtime.")
@report_failures(ExportError)
def command(pair_name: str, measure: bool) -> None:
    """Count parameters and multiply-accumulates (GMACs) per image, of both stages and of the resampling before them.

    The counts are of the graphs and sizes that are served; no weights are needed.
    """
    # torch takes seconds to import, and the help does not need it.
    from littlebig_export.costs import as_table, pair_costs  # noqa: PLC0415

    costs, canonical = pair_costs(load_pair(pair_name), measure=measure, report=lambda line: click.echo(line, err=True))
    for line in as_table(costs, canonical):
        click.echo(line)
    if measure:
        click.echo(f"measured one image at a time, FP32, ONNX Runtime's {providers()[0]}")
