"""`littlebig classify`: classify image files with a served cascade."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.text import Text

from littlebig_cli.classify_output import AsCsv, AsJson, AsTable, Output, name_of
from littlebig_cli.connection import add_connection_options
from littlebig_cli.failures import report_failures
from littlebig_cli.terminal import console
from littlebig_client import (
    POLICIES,
    Client,
    ClientError,
    InvalidImage,
    ModelNotServed,
    RequestRejected,
    ServerFailure,
    ServerUnreachable,
)
from littlebig_contract.pictures import SUFFIXES, pictures_in

# Fewest images for a progress bar.
_BAR_FROM = 5


@click.command(epilog="Example:  littlebig classify coffee.png photos/ --policy cascade --json")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@add_connection_options()
@click.option(
    "--top-k", default=5, show_default=True, help="Number of candidates; the table lists them for a single image only."
)
@click.option(
    "--threshold",
    type=float,
    show_default="as served",
    help="Escalate below this score, 0 to 1: little's confidence or its margin, as the server's gate is set; the table "
    "says which.",
)
@click.option(
    "--policy",
    type=click.Choice(POLICIES),
    show_default="as served",
    help="cascade: escalate unsure images; little, big: use that stage for every image.",
)
@click.option(
    "--within", type=float, help="Seconds until the server answers without big, if it is set to fall back to little."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of every image with its candidates or error.")
@click.option("--csv", "as_csv", is_flag=True, help="Print one CSV row per image, with candidates in further columns.")
@click.option("--concurrency", default=8, show_default=True, help="Requests in flight.")
@click.option("--timeout", default=30.0, show_default=True, help="Seconds until a request fails.")
@click.option(
    "--retry-for",
    default=20.0,
    show_default=True,
    help="Seconds to wait for a server that restarts or is lost; at most --timeout.",
)
@report_failures(ClientError)
def command(
    *,
    images: Sequence[Path],
    connection: dict[str, Any],
    top_k: int,
    threshold: float | None,
    policy: str | None,
    within: float | None,
    as_json: bool,
    as_csv: bool,
    concurrency: int,
    timeout: float,
    retry_for: float,
) -> None:
    """Classify image files, or all image files in a folder, with a served cascade.

    Failed images are reported on stderr and the exit code is 1; the other images continue.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    files = expand(images)
    failures = 0
    client = Client(timeout=timeout, retry_for=retry_for, **connection)
    if as_json or as_csv:
        output: Output = AsJson() if as_json else AsCsv(top_k)
    else:
        output = AsTable(show_candidates=len(files) == 1, note=_note(client, threshold))
    with client, output, _bar(len(files), streaming=as_json or as_csv) as bar:
        task = bar.add_task("", total=len(files))
        answers = client.classify_many(
            files, concurrency=concurrency, top_k=top_k, threshold=threshold, policy=policy, within=within
        )
        for file, answer in zip(files, answers, strict=True):
            if isinstance(answer, ServerUnreachable | ModelNotServed):
                raise answer  # every other image would fail too
            if isinstance(answer, ClientError):
                failures += 1
                bar.console.print(Text(f"littlebig: {answer}"), soft_wrap=True)
            output.add(name_of(file), answer)
            bar.advance(task)
    if failures:
        raise SystemExit(1)


def expand(images: Sequence[Path]) -> list[Path]:
    """Replace each folder by the image files in it, at any depth.

    Args:
        images: files and folders. Files are kept regardless of their suffix and existence.

    Raises:
        InvalidImage: a folder has no image files.
    """
    files: list[Path] = []
    for image in images:
        if not image.is_dir():
            files.append(image)
            continue
        inside = pictures_in(image)
        if not inside:
            raise InvalidImage(f"{name_of(image)}: no image files ({', '.join(SUFFIXES)}) in this folder")
        files.extend(inside)
    return files


def _note(client: Client, threshold: float | None) -> str:
    """What a given threshold is compared with."""
    if threshold is None:
        return ""
    try:
        return f"escalated below a {client.score()} of {threshold:g}"
    except (RequestRejected, ServerFailure):
        return ""  # the server keeps its configuration to itself


@contextmanager
def _bar(images: int, *, streaming: bool) -> Iterator[Progress]:
    errors = console(stderr=True)
    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        redirect_stdout=False,  # stdout is for the output only
    )
    # Rows printed to the same terminal would break the bar.
    shares_terminal = streaming and sys.stdout.isatty()
    if errors.is_terminal and images >= _BAR_FROM and not shares_terminal:
        with bar:
            yield bar
    else:
        yield bar  # a bar that is not started draws nothing
