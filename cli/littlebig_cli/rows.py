"""Prints rows as a table, CSV or Markdown."""

import csv
import io
from collections.abc import Mapping, Sequence

import click
import rich.box
from rich.table import Table
from rich.text import Text

from littlebig_cli.terminal import print_table
from littlebig_contract.text import one_line

FORMATS = ("table", "json", "csv", "md")


def show_rows(columns: Sequence[str], rows: Sequence[Mapping[str, str]], form: str) -> None:
    """Print rows. `table` and `md` omit columns without any content.

    Args:
        columns: names of the columns, in order.
        rows: a text for every column, per row.
        form: `table`, `csv` or `md`.
    """
    if form == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([row[name] for name in columns] for row in rows)
        click.echo(text.getvalue(), nl=False)
        return
    filled = [name for name in columns if any(row[name] for row in rows)]
    if form == "md":
        for cells in (filled, ["---"] * len(filled), *([row[name] for name in filled] for row in rows)):
            click.echo("| " + " | ".join(one_line(cell).replace("|", "\\|") for cell in cells) + " |")
        return
    table = Table(box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in filled:
        first = name == filled[0]
        table.add_column(name, justify="left" if first else "right", no_wrap=not first, overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(row[name])) for name in filled))
    print_table(table)
