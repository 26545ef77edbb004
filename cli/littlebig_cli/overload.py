"""`littlebig overload`: more images than the cascade can answer, with a latency target, and what becomes of them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from littlebig_benchmarks import images
from littlebig_benchmarks.errors import BenchmarkError
from littlebig_benchmarks.overload import Trial, as_markdown, run
from littlebig_calibration.errors import CalibrationError
from littlebig_calibration.labelled import find_labelled_images
from littlebig_cli.failures import report_failures
from littlebig_cli.measured import as_typed, export_default_pair, repository_option
from littlebig_server import ServerError

DEFAULT = Trial()
POSITIVE = click.FloatRange(min=0, min_open=True)


@click.command(epilog="Example:  littlebig overload --data imagenet/val --latency-target 600")
@repository_option
@click.option("--tritonserver", type=click.Path(path_type=Path), metavar="PATH", help="The binary, as for serve.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True),
    help="Labelled images, as for predict, to report accuracy.  [default: crops of photographs, without labels]",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Labels of a folder of images, as for predict.",
)
@click.option(
    "--pictures",
    type=click.IntRange(min=1),
    default=400,
    show_default=True,
    help="Most images to take, evenly from all.",
)
@click.option(
    "--latency-target",
    type=POSITIVE,
    metavar="MS",
    help="The gate's latency_target_ms; its queue rejects what waits for half of it.  [default: the shortest that "
    "leaves room for the gate's batches here]",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Escalate below this: the higher, the more there is to spare.  [default: the repository's]",
)
@click.option(
    "--excess",
    type=POSITIVE,
    default=DEFAULT.excess,
    show_default=True,
    help="Images offered, as a multiple of what the gate answers at most.",
)
@click.option("--seconds", type=POSITIVE, default=DEFAULT.seconds, show_default=True, help="For how long.")
@click.option(
    "--after",
    type=click.FloatRange(min=6),
    default=DEFAULT.after,
    show_default=True,
    help="Seconds of half of what it answers at most, afterwards.",
)
@click.option("--seed", type=int, default=DEFAULT.seed, show_default=True, help="Of order and arrivals.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/overload"),
    show_default=True,
    help="Folder for overload.json and overload.md.",
)
@report_failures(BenchmarkError, CalibrationError, ServerError)
def command(
    repository: Path,
    tritonserver: Path | None,
    data: Path | None,
    labels: Path | None,
    pictures: int,
    latency_target: float | None,
    threshold: float | None,
    excess: float,
    seconds: float,
    after: float,
    seed: int,
    output: Path,
) -> None:
    """Offer more images than the cascade can answer, with a latency target: who is answered, when, and how rightly."""
    if labels is not None and data is None:
        raise click.UsageError("--labels needs --data, the folder of the images.")
    trial = Trial(latency_target, excess, seconds, after, threshold=threshold, seed=seed)
    encoded, known = _pictures(data, labels, pictures, seed)
    if not repository.exists():
        export_default_pair(repository)
    outcome = run(repository, encoded, known, trial, lambda line: click.echo(line, err=True), tritonserver)
    words = as_typed(sys.argv[1:])
    table = as_markdown(outcome, trial, words)
    output.mkdir(parents=True, exist_ok=True)
    found = {"format": 1, "command": words, "trial": asdict(trial), **asdict(outcome)}
    (output / "overload.json").write_text(json.dumps(found, indent=1), encoding="utf-8")
    (output / "overload.md").write_text(table, encoding="utf-8")
    click.echo(table)
    click.echo(f"wrote {output}", err=True)


def _pictures(data: Path | None, labels: Path | None, most: int, seed: int) -> tuple[list[bytes], list[int] | None]:
    """Pictures as files, and what they show where that is known."""
    if data is None:
        return images.crops(images.photographs(None), min(most, images.CANDIDATES), seed), None
    found = find_labelled_images(data, labels)
    step = max(1, len(found.files) // most)
    chosen = range(0, len(found.files), step)[:most]
    return [(found.folder / found.files[at]).read_bytes() for at in chosen], [found.labels[at] for at in chosen]
