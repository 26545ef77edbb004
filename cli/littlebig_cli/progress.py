"""The progress bar of commands that process many images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from littlebig_cli.terminal import console


@contextmanager
def images_bar(title: str, images: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr; yields a function that advances it by a number of images."""
    columns = (TextColumn("{task.description}", markup=False), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True)) as bar:
        task = bar.add_task(title, total=images)
        yield lambda count: bar.advance(task, count)
