"""`littlebig doctor`: one screen that says what this machine can do, and how to mend what it lacks."""

import json
import platform
from dataclasses import asdict
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from littlebig_cli.checkup import Finding, examine
from littlebig_cli.terminal import print_table
from littlebig_contract.text import one_line
from littlebig_contract.version import version


@click.command(epilog="Example:  littlebig doctor --json")
@click.option(
    "--repository",
    type=click.Path(path_type=Path),
    default=Path("build/model_repository"),
    help="The model repository to serve.",
)
@click.option("--json", "as_json", is_flag=True, help="Print an object with every finding instead of the table.")
def command(repository: Path, as_json: bool) -> None:
    """Say what this machine can do, and for each lack the line that mends it.

    Exits with 1 if the model repository cannot be served here, or there is none and none can be exported. Ports, and
    what other commands need, have no effect on that.
    """
    findings = list(examine(repository))
    serves = all(finding.present for finding in findings if finding.needed)
    if as_json:
        about = {"version": version(), "machine": platform.platform(), "serves": serves}
        click.echo(json.dumps({**about, "findings": [asdict(finding) for finding in findings]}, indent=1))
    else:
        click.echo(f"littlebig {version()} on {platform.system()} {platform.machine()}\n")
        print_table(_table(findings))
        click.echo("\nserving works here" if serves else "\nserving does not work here: mend what is marked x")
    if not serves:
        raise SystemExit(1)


def _table(findings: list[Finding]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("mark", "name"):
        table.add_column(column, no_wrap=True)
    table.add_column("text", overflow="fold")
    for finding in findings:
        mark, style = ("ok", "green") if finding.present else ("x", "bold red") if finding.needed else ("-", "yellow")
        table.add_row(Text(mark, style), finding.name, Text(one_line(finding.text)))
    return table
