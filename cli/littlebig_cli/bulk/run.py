"""Asks for every picture once and writes the table.

Answers go to the journal as they arrive. When every picture has one, the table is written from it, and from the table
that was there before. So an interruption loses no answer, and the same call continues after it.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import click

from littlebig_cli.answer_rows import row_of
from littlebig_cli.bulk.journal import Journal, other_options
from littlebig_cli.bulk.known import Known
from littlebig_cli.bulk.picture import Picture
from littlebig_cli.bulk.stopping import Stop
from littlebig_cli.bulk.tables import check_suffix, read_options, read_table, write_table
from littlebig_cli.bulk.tally import Tally, shown, stage_of
from littlebig_cli.failures import Failure
from littlebig_client import (
    Client,
    ClientError,
    ImageInput,
    InvalidImage,
    InvalidRequest,
    ModelNotServed,
    ServerFailure,
    ServerTimeout,
    ServerUnreachable,
)
from littlebig_contract.text import one_line

# So many failures of the server in a row mean that it cannot answer at all.
_FAILURES_IN_A_ROW = 200


@dataclass(frozen=True)
class Settings:
    """How to ask.

    Attributes:
        options: the keyword arguments of `Client.classify_many` that change answers.
        concurrency: requests in flight.
        retry_failed: ask again for pictures whose row is an error.
    """

    options: Mapping[str, Any]
    concurrency: int
    retry_failed: bool = False


@dataclass(frozen=True)
class Finished:
    """A finished run.

    Attributes:
        stages: rows of the table by stage, and `failed`.
        asked: what this run did.
    """

    stages: Counter[str]
    asked: Tally


class Stopped(Exception):
    """A signal stopped the run; every answer is kept.

    Attributes:
        signal: its number.
    """

    def __init__(self, signal: int, message: str) -> None:
        """Store both."""
        super().__init__(message)
        self.signal = signal


def answer_all(
    client: Client, found: Iterable[Picture], output: Path, settings: Settings, *, count: Callable[[], int | None]
) -> Finished:
    """Ask for every picture that the table lacks, and write the table.

    Args:
        client: of the server to ask.
        found: the pictures; see `sources.pictures`.
        output: the table; see `tables`.
        settings: how to ask.
        count: the number of pictures, or None if it is not known; called in another thread, for the bar only.

    Raises:
        Failure: the server is gone, there are no pictures, or something cannot be read or written.
        InvalidRequest: an option is out of range.
        Stopped: a signal stopped the run.
    """
    check_suffix(output)
    if output.exists() and (begun := read_options(output)) is not None and begun != settings.options:
        raise other_options(output, begun, output)
    with Journal(output, settings.options) as journal:
        known = Known()
        for row in chain(_before(output), journal.rows()):
            known.add_row(row, ask_again=settings.retry_failed and "error" in row)
        tally = Tally()
        with Stop() as stop, shown(tally, count):
            _ask(client, found, known, journal, tally, settings, stop)
        if stop.signal is not None:
            raise Stopped(stop.signal, f"stopped: {journal.path} keeps every answer, the same command continues")
        if not tally.done:
            raise Failure("there are no pictures in what was given")
        stages: Counter[str] = Counter()
        if not journal.has_rows:
            return Finished(Counter(map(stage_of, _before(output))), tally)
        rows = known.latest(chain(_before(output), journal.rows()))
        write_table(output, _counted(rows, stages), settings.options)
        journal.remove()
        return Finished(stages, tally)


@contextmanager
def ends_on_signal() -> Iterator[None]:
    """End a stopped command with one line on stderr and the exit code of its signal."""
    try:
        yield
    except Stopped as stopped:
        click.echo(f"littlebig: {one_line(str(stopped))}", err=True)
        raise SystemExit(128 + stopped.signal) from None


def _before(output: Path) -> Iterator[dict[str, Any]]:
    """The rows of a table that an earlier run finished."""
    return read_table(output) if output.exists() else iter(())


def _ask(
    client: Client,
    found: Iterable[Picture],
    known: Known,
    journal: Journal,
    tally: Tally,
    settings: Settings,
    stop: Stop,
) -> None:
    """Ask for every picture without a row, and add the answers to the journal."""
    names: deque[str] = deque()
    reason: ClientError | None = None
    in_a_row = 0

    def to_ask() -> Iterator[tuple[str, ImageInput]]:
        for picture in found:
            if known.add(picture.name):
                yield picture.name, picture.read()
            else:
                tally.passed += 1

    def images() -> Iterator[ImageInput]:
        for name, image in stop.limited(to_ask()):
            tally.start()
            names.append(name)
            yield image

    for answer in client.classify_many(images(), concurrency=settings.concurrency, **settings.options):
        name = names.popleft()
        if isinstance(answer, ClientError) and _concerns_all(answer):
            # Answers to pictures behind this one may still arrive: take no further pictures, but keep those.
            reason = reason or answer
            stop.set()
            continue
        in_a_row = in_a_row + 1 if isinstance(answer, ServerFailure | ServerTimeout) else 0
        if in_a_row >= _FAILURES_IN_A_ROW and isinstance(answer, ClientError):
            reason = reason or answer
            stop.set()
        row = row_of(name, answer)
        journal.add(row)
        known.add_row(row)
        tally.add(row)
    if reason is not None and stop.signal is None:
        retry = " with --retry-failed" if in_a_row >= _FAILURES_IN_A_ROW else ""
        kept = (
            f"; all {journal.rows_added:,} answers are kept, the same command{retry} continues"
            if journal.rows_added
            else ""
        )
        raise Failure(f"{reason.message}{kept}")


def _concerns_all(answer: ClientError) -> bool:
    """Whether every other picture would fail likewise."""
    if isinstance(answer, InvalidRequest):
        return not isinstance(answer, InvalidImage)
    return isinstance(answer, ServerUnreachable | ModelNotServed)


def _counted(rows: Iterable[dict[str, Any]], stages: Counter[str]) -> Iterator[dict[str, Any]]:
    for row in rows:
        stages[stage_of(row)] += 1
        yield row
