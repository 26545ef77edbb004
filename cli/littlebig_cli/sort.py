"""`littlebig sort`: copies or links pictures into folders by answer."""

import os
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from littlebig_cli.bulk.lock import lock
from littlebig_cli.bulk.picture import Picture, is_url, path_of
from littlebig_cli.bulk.run import Settings, Stopped, answer_all, ends_on_signal
from littlebig_cli.bulk.shards import is_shard, split_member
from littlebig_cli.bulk.sources import pictures
from littlebig_cli.bulk.tables import read_table
from littlebig_cli.connection import add_connection_options
from littlebig_cli.failures import Failure, report_failures
from littlebig_cli.numbers import Number, NumberRange
from littlebig_cli.progress import images_bar
from littlebig_cli.sorting.names import FAILED, UNSURE, folder_names
from littlebig_cli.sorting.placing import WAYS, Unreadable, place, target_for
from littlebig_client import POLICIES, Client, ClientError
from littlebig_contract.text import printable

TABLE = "answers.csv"


@click.command(epilog="Example:  littlebig sort photos --output sorted --below 0.5")
@click.argument("images", metavar="[IMAGE]...", nargs=-1)
@click.option(
    "--answers",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Sort by this table of 'littlebig classify --output', without a server.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help=f"Folder that gets a folder per label, and the answers as {TABLE}.",
)
@click.option(
    "--below",
    type=NumberRange(0, 1),
    help="Put pictures whose confidence is below this, 0 to 1, into a folder of their own.",
)
@click.option("--as", "way", type=click.Choice(WAYS), default="copy", help="What to put into the folders.")
@click.option("--dry-run", is_flag=True, help="Print where each picture would go, and write nothing.")
@add_connection_options()
@click.option("--threshold", type=Number(), show_default="as served", help="As for 'littlebig classify'.")
@click.option("--policy", type=click.Choice(POLICIES), show_default="as served", help="As for 'littlebig classify'.")
@click.option("--concurrency", default=8, help="Requests in flight.")
@click.option("--timeout", type=Number(), default=30.0, help="Seconds until a request fails.")
@click.option(
    "--retry-for",
    type=Number(),
    default=20.0,
    help="Seconds to wait for a server that restarts or is lost.",
)
@report_failures(ClientError)
def command(
    *,
    images: Sequence[str],
    answers: Path | None,
    output: Path,
    below: float | None,
    way: str,
    dry_run: bool,
    connection: dict[str, Any],
    threshold: float | None,
    policy: str | None,
    concurrency: int,
    timeout: float,
    retry_for: float,
) -> None:
    """Sort pictures into folders by their most probable label.

    IMAGE is a file, a folder (its image files at any depth), or a pattern. The originals stay where they are, and no
    file is overwritten: another picture of the same name gets a longer one. Pictures without an answer go to the folder
    _failed. The same command continues after an interruption.
    """
    if bool(images) == (answers is not None):
        raise click.UsageError("Give either IMAGE... or --answers.")
    with tempfile.TemporaryDirectory(prefix="littlebig-") as temporary:
        if answers is None:
            answers = Path(temporary if dry_run else output) / TABLE
            settings = Settings({"top_k": 5, "threshold": threshold, "policy": policy, "within": None}, concurrency)
            with Client(timeout=timeout, retry_for=retry_for, **connection) as client, ends_on_signal():
                answer_all(
                    client,
                    _outside(images, output),
                    answers,
                    settings,
                    count=lambda: sum(1 for _ in _outside(images, output)),
                )
        with ends_on_signal(), _locked(output, dry_run):
            try:
                placed = _sort(answers, output, below, way, dry_run)
            except KeyboardInterrupt:
                raise Stopped(signal.SIGINT, "stopped: no picture is lost, the same command continues") from None
    words = ", ".join(f"{number:,} {what}" for what, number in placed.items())
    click.echo(f"{output}: {words}" + (" (dry run: nothing was written)" if dry_run else ""))


def _outside(images: Sequence[str], output: Path) -> Iterator[Picture]:
    """The pictures of files and folders that are not in the output folder."""
    for image in images:
        if is_url(image) or is_shard(image) or split_member(image) is not None:
            raise Failure(
                f"{image}: only files of this machine can be sorted; classify can write their answers to a table"
            )
    inside = os.path.join(os.path.abspath(output), "")
    return (picture for picture in pictures(images) if not os.path.abspath(path_of(picture.name)).startswith(inside))


def _sort(answers: Path, output: Path, below: float | None, way: str, dry_run: bool) -> Counter[str]:
    """Put every picture of the table into its folder; returns what was done, by kind."""
    labels, rows = {}, 0
    for row in read_table(answers):
        rows += 1
        if "error" not in row:
            labels[int(row["label"])] = str(row["name"])
    folders = folder_names(labels)
    planned: dict[Path, Path] = {}
    done: Counter[str] = Counter()
    with images_bar("pictures", rows) as advance:
        for row in read_table(answers):
            advance(1)
            source = Path(path_of(row["file"]))
            if "error" in row:
                folder = FAILED
            elif below is not None and row["confidence"] < below:
                folder = UNSURE.format(confidence=below)
            else:
                folder = folders[int(row["label"])]
            try:
                target, is_there = target_for(source, output / folder, way, planned)
            except Unreadable as reason:
                click.echo(f"littlebig: {printable(str(source))}: {reason}", err=True)
                done["not found"] += 1
                continue
            if dry_run:
                planned[target] = source
                click.echo(f"{printable(str(source))} -> {printable(str(target))}")
            elif not is_there:
                _place(source, target, way)
            kind = {FAILED: "failed"}.get(folder, "below" if folder.startswith("_") else "sorted")
            done["there before" if is_there else kind] += 1
    return done


def _place(source: Path, target: Path, way: str) -> None:
    try:
        place(source, target, way)
    except OSError as reason:
        raise Failure(
            f"{source} cannot be put to {target}: {reason.strerror or reason}; nothing is lost: "
            "mend that and give the same command again"
        ) from reason


@contextmanager
def _locked(output: Path, dry_run: bool) -> Iterator[None]:
    """Keep other processes from sorting into the folder."""
    if dry_run:
        yield
        return
    output.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(output, os.O_RDONLY)
    lock(descriptor, output)
    try:
        yield
    finally:
        os.close(descriptor)
