"""Prints answers: a table at the end, or JSON or CSV as the answers arrive."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Protocol

import click
from rich.table import Table
from rich.text import Text

from littlebig_cli.answer_rows import csv_cells, csv_columns, row_of
from littlebig_cli.terminal import print_table
from littlebig_client import Classification, ClientError, Stage
from littlebig_contract.text import printable


class Output(Protocol):
    """Receives answers one by one; leaving the context ends the output."""

    def __enter__(self) -> Output:
        """Begin."""
        ...

    def __exit__(self, *raised: object) -> None:
        """End; the output stays valid after a failure."""
        ...

    def add(self, file: str, answer: Classification | ClientError) -> None:
        """Add the answer to one file."""
        ...


class AsTable:
    """A table of all answers; for a single image, its candidates below."""

    def __init__(self, *, show_candidates: bool, note: str = "") -> None:
        """Prepare the table.

        Args:
            show_candidates: list the candidates of the first image; used for a single image.
            note: a line below the table.
        """
        self._show_candidates = show_candidates
        self._note = note
        self._rows: list[tuple[str, Classification]] = []
        self._stages: Counter[str] = Counter()

    def __enter__(self) -> AsTable:
        """Print nothing yet."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Print the table, unless there is no answer."""
        if not self._rows:
            return
        table = _columns("file", "answer", "*confidence", "!stage")
        for file, answer in self._rows:
            style = "yellow" if answer.stage in (Stage.LITTLE_BIG_FAILED, Stage.LITTLE_OVERLOADED) else ""
            table.add_row(
                Text(printable(file)),
                Text(printable(answer.name)),
                f"{answer.confidence:.3f}",
                Text(str(answer.stage), style=style),
            )
        print_table(table)
        click.echo()
        if self._show_candidates:
            candidates = _columns("*probability", "*label", "candidate")
            for candidate in self._rows[0][1].top_k:
                candidates.add_row(
                    f"{candidate.probability:.3f}", str(candidate.label), Text(printable(candidate.name))
                )
            print_table(candidates)
        else:
            counts = ", ".join(f"{count} {stage}" for stage, count in self._stages.most_common())
            click.echo(f"{self._stages.total()} images: {counts}")
        if self._note:
            click.echo(self._note)

    def add(self, file: str, answer: Classification | ClientError) -> None:
        """Store an answer for the table; count an error, which the command reports itself."""
        if isinstance(answer, ClientError):
            self._stages["failed"] += 1
        else:
            self._stages[str(answer.stage)] += 1
            self._rows.append((file, answer))


class AsJson:
    """A JSON array with one object per image and line: its answer, or `error`."""

    def __init__(self) -> None:
        """Print nothing yet."""
        self._opened = False

    def __enter__(self) -> AsJson:
        """Print nothing yet: without a server there is no output."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Close the array."""
        if self._opened:
            click.echo("\n]")

    def add(self, file: str, answer: Classification | ClientError) -> None:
        """Print one object."""
        click.echo(",\n" if self._opened else "[\n", nl=False)
        self._opened = True
        click.echo(json.dumps(row_of(file, answer)), nl=False)


class AsCsv:
    """A CSV header and one row per image: its answer, or `error`."""

    def __init__(self, top_k: int) -> None:
        """Prepare the columns.

        Args:
            top_k: number of requested candidates; each has three columns.
        """
        self._writer = csv.writer(sys.stdout, lineterminator="\n")
        # A program gets names as they are; a terminal would interpret them.
        self._text = printable if sys.stdout.isatty() else str
        self._top_k = top_k
        self._opened = False

    def __enter__(self) -> AsCsv:
        """Print nothing yet: without a server there is no output."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Print nothing."""

    def add(self, file: str, answer: Classification | ClientError) -> None:
        """Write one row."""
        if not self._opened:
            self._writer.writerow(csv_columns(self._top_k))
            self._opened = True
        self._writer.writerow(csv_cells(row_of(file, answer), self._top_k, self._text))


def name_of(file: Path) -> str:
    """The file's name as text; bytes that are no text become U+FFFD."""
    return os.fsencode(file).decode("utf-8", "replace")


def _columns(*headers: str) -> Table:
    # `*` marks numbers and `!` the stage: these never wrap, so in 80 columns only names and paths do.
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        table.add_column(
            header.lstrip("*!"),
            justify="right" if header.startswith("*") else "left",
            no_wrap=header.startswith(("*", "!")),
            overflow="fold",
        )
    return table
