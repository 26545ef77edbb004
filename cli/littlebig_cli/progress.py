"""The progress bar of commands that go through many images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def images_bar(what: str, images: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr; gives what advances it by a number of images."""
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=images)
        yield lambda done: bar.advance(task, done)
