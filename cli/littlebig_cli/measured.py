"""Options and helpers of the commands that measure a repository."""

import functools
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from littlebig_cli.failures import Failure
from littlebig_cli.numbers import NumberRange

# Options whose values a report must not show, and what it shows instead.
_SECRETS, _SECRET = ("--token", "--metadata"), "..."
PAIR = "efficientnet-lite"
POSITIVE = NumberRange(min=0, min_open=True)

repository_option = click.option(
    "--repository",
    type=click.Path(path_type=Path),
    default=Path("build/model_repository"),
    help="The model repository to serve; the default pair is exported to it if it does not exist.",
)

_OVERLOAD = (
    click.option(
        "--data",
        type=click.Path(path_type=Path, exists=True),
        help="overload: labelled images, as for predict, to report accuracy.  [default: crops without labels]",
    ),
    click.option(
        "--labels",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        help="overload: the file with the labels of the images in --data, as for predict.",
    ),
    click.option(
        "--pictures",
        type=click.IntRange(min=1),
        default=400,
        help="overload: most images to take from --data, evenly spread.",
    ),
    click.option(
        "--latency-target",
        type=POSITIVE,
        metavar="MS",
        help="overload: the gate's latency_target_ms; its queue rejects requests that wait for half of it.  [default: "
        "the shortest that full batches of the gate allow on this machine]",
    ),
    click.option(
        "--threshold",
        type=NumberRange(0, 1),
        help="overload: threshold of the requests; a higher one escalates more.  [default: the repository's]",
    ),
    click.option(
        "--excess", type=POSITIVE, default=1.5, help="overload: request rate, as a multiple of the gate's throughput."
    ),
    click.option(
        "--overload-seconds", type=POSITIVE, default=60.0, help="overload: length of the overload, in seconds."
    ),
    click.option(
        "--after",
        type=NumberRange(min=6),
        default=10.0,
        help="overload: seconds at half of the gate's throughput, after the overload.",
    ),
)


def overload_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a command with the options of the overload."""
    return functools.reduce(lambda function, option: option(function), reversed(_OVERLOAD), command)


def labelled_pictures(
    data: Path, labels: Path | None, most: int, repository: Path | None
) -> tuple[list[bytes], list[int]]:
    """At most `most` pictures of a labelled set, evenly spread over it, with their classes.

    Args:
        data: see `find_labelled_images`.
        labels: the same.
        most: how many.
        repository: says which classes folders stand for.
    """
    from littlebig_calibration.errors import CalibrationError  # noqa: PLC0415  (an extra that only --data needs)
    from littlebig_calibration.labelled import find_labelled_images  # noqa: PLC0415

    try:
        images = find_labelled_images(data, labels)
        if images.class_folders and repository is None:
            raise Failure(f"'{data}': the classes of a running server are not read: give labels as a CSV by --labels")
        if images.class_folders and repository is not None:
            names = (repository / "big" / "labels.txt").read_text(encoding="utf-8").splitlines()
            images = images.with_classes(len(names), names)
    except (CalibrationError, OSError) as reason:
        raise Failure(str(reason)) from reason
    step = max(1, len(images.files) // most)
    chosen = range(0, len(images.files), step)[:most]
    return [(images.folder / images.files[at]).read_bytes() for at in chosen], [images.labels[at] for at in chosen]


def export_default_pair(repository: Path) -> None:
    """Export the default pair in a process of its own, whose memory is free before the measurement starts."""
    words = ["export", "--pair", PAIR, "--output", str(repository)]
    if subprocess.run([sys.executable, "-m", "littlebig_cli", *words], stdout=2, check=False).returncode:
        raise Failure(f"'littlebig {' '.join(words)}' failed, see above: fix it, or give another --repository")


def as_typed(words: list[str]) -> str:
    """The command line, without secrets and the directories of this machine's absolute paths."""
    shown = []
    for before, word in zip(["", *words], words, strict=False):
        option, equals, _ = word.partition("=")
        if before in _SECRETS:
            shown.append(_SECRET)
        elif equals and option in _SECRETS:
            shown.append(f"{option}={_SECRET}")
        else:
            shown.append("=".join(Path(part).name if part.startswith("/") else part for part in word.split("=")))
    return shlex.join(["littlebig", *shown])
