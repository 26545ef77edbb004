"""`littlebig classify`: classify image files with a served cascade."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.text import Text

from littlebig_cli.classify_output import AsCsv, AsJson, AsTable, Output, printable
from littlebig_cli.failures import report_failures
from littlebig_client import (
    POLICIES,
    Client,
    ClientError,
    InvalidImage,
    ModelNotServed,
    ServerUnreachable,
)
from littlebig_contract.pictures import SUFFIXES, pictures_in

# Fewest images for a progress bar.
_BAR_FROM = 5


@click.command(epilog="Example:  littlebig classify coffee.png photos/ --policy cascade --json")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--url", default="localhost:8001", show_default=True, help="Triton's gRPC endpoint, host:port.")
@click.option(
    "--top-k", default=5, show_default=True, help="Number of candidates; the table lists them for a single image only."
)
@click.option(
    "--threshold",
    type=float,
    show_default="as served",
    help="Escalate below this score, 0 to 1.",
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
@report_failures(ClientError)
def command(
    *,
    images: Sequence[Path],
    url: str,
    top_k: int,
    threshold: float | None,
    policy: str | None,
    within: float | None,
    as_json: bool,
    as_csv: bool,
    concurrency: int,
    timeout: float,
) -> None:
    """Classify image files, or all image files in a folder, with a served cascade.

    Failed images are reported on stderr and the exit code is 1; the other images continue.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    files = expand(images)
    output: Output = AsJson() if as_json else AsCsv(top_k) if as_csv else AsTable(show_candidates=len(files) == 1)
    failures = 0
    with Client(url, timeout) as client, output, _bar(len(files), streaming=as_json or as_csv) as bar:
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
            output.add(printable(file), answer)
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
            raise InvalidImage(f"{printable(image)}: no image files ({', '.join(SUFFIXES)}) in this folder")
        files.extend(inside)
    return files


@contextmanager
def _bar(images: int, *, streaming: bool) -> Iterator[Progress]:
    console = Console(stderr=True, highlight=False)
    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,  # stdout is for the output only
    )
    # Rows printed to the same terminal would break the bar.
    shares_terminal = streaming and sys.stdout.isatty()
    if console.is_terminal and images >= _BAR_FROM and not shares_terminal:
        with bar:
            yield bar
    else:
        yield bar  # a bar that is not started draws nothing
