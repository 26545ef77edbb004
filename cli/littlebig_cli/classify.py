"""`littlebig classify`: classify image files with a served cascade."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.text import Text

from littlebig_cli.bulk.picture import is_url
from littlebig_cli.bulk.run import Settings, answer_all, ends_on_signal
from littlebig_cli.bulk.shards import is_shard, split_member
from littlebig_cli.bulk.sources import count, listed, pictures
from littlebig_cli.bulk.tally import summary
from littlebig_cli.classify_output import AsCsv, AsJson, AsTable, Output, name_of
from littlebig_cli.connection import add_connection_options
from littlebig_cli.failures import report_failures
from littlebig_cli.numbers import Number
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
@click.argument("images", metavar="[IMAGE]...", nargs=-1)
@click.option(
    "--from-file",
    "list_file",
    metavar="LIST",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="Classify what this text lists, one path or URL a line; - for stdin. Needs --output.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the answers to this table, .parquet, .csv or .jsonl, for any number of images. The same command "
    "continues after an interruption, and asks only for what the table lacks.",
)
@click.option("--retry-failed", is_flag=True, help="With --output: ask again for the images that failed.")
@add_connection_options()
@click.option("--top-k", default=5, help="Number of candidates; the table lists them for a single image only.")
@click.option(
    "--threshold",
    type=Number(),
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
    "--within", type=Number(), help="Seconds until the server answers without big, if it is set to fall back to little."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of every image with its candidates or error.")
@click.option("--csv", "as_csv", is_flag=True, help="Print one CSV row per image, with candidates in further columns.")
@click.option("--concurrency", default=8, help="Requests in flight.")
@click.option("--timeout", type=Number(), default=30.0, help="Seconds until a request fails.")
@click.option(
    "--retry-for",
    type=Number(),
    default=20.0,
    help="Seconds to wait for a server that restarts or is lost; at most --timeout.",
)
@report_failures(ClientError)
def command(
    *,
    images: Sequence[str],
    list_file: str | None,
    output: Path | None,
    retry_failed: bool,
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

    With --output, IMAGE is also a pattern ('photos/**/*.jpg'), a tar shard, a shard's member (shard.tar::member), or a
    URL of all these (s3://bucket/folder); failures are in the table, and the exit code is 1 only if it is incomplete.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    if list_file is None and not images:
        raise click.UsageError("Missing argument 'IMAGE...'")
    options = {"top_k": top_k, "threshold": threshold, "policy": policy, "within": within}
    client = Client(timeout=timeout, retry_for=retry_for, **connection)
    if output is None:
        if list_file is not None or retry_failed:
            raise click.UsageError("--from-file and --retry-failed need --output")
        _print_answers(client, expand(images), options, concurrency, as_json=as_json, as_csv=as_csv)
        return
    if as_json or as_csv:
        raise click.UsageError("the suffix of --output decides on the format: leave --json and --csv out")
    with client:
        _write_answers(client, images, list_file, output, Settings(options, concurrency, retry_failed))


def _write_answers(
    client: Client, images: Sequence[str], list_file: str | None, output: Path, settings: Settings
) -> None:
    """Write the answers to a table, and a line about them to stdout."""

    def sources() -> Iterator[str]:
        yield from images
        if list_file is not None:
            yield from listed(list_file)

    can_be_read_twice = list_file is None or Path(list_file).is_file()  # unlike a pipe
    with ends_on_signal():
        finished = answer_all(
            client, pictures(sources()), output, settings, count=lambda: count(sources()) if can_be_read_twice else None
        )
    click.echo(f"{output}: {summary(finished.stages)}")
    click.echo(finished.asked.report())


def _print_answers(
    client: Client, files: Sequence[Path], options: Mapping[str, Any], concurrency: int, *, as_json: bool, as_csv: bool
) -> None:
    """Print the answers."""
    failures = 0
    if as_json or as_csv:
        output: Output = AsJson() if as_json else AsCsv(options["top_k"])
    else:
        output = AsTable(show_candidates=len(files) == 1, note=_note(client, options["threshold"]))
    with client, output, _bar(len(files), streaming=as_json or as_csv) as bar:
        task = bar.add_task("", total=len(files))
        answers = client.classify_many(files, concurrency=concurrency, **options)
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


def expand(images: Sequence[str]) -> list[Path]:
    """Replace each folder by the image files in it, at any depth.

    Args:
        images: files and folders. Files are kept regardless of their suffix and existence.

    Raises:
        InvalidImage: a folder has no image files.
        UsageError: an image needs --output.
    """
    files: list[Path] = []
    for name in images:
        if is_url(name) or is_shard(name) or split_member(name) is not None:
            raise click.UsageError(f"{name}: URLs and shards need --output")
        image = Path(name)
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
