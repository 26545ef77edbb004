"""Counts a run's answers, and shows them as a progress bar on a terminal."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from littlebig_cli.answer_rows import Row
from littlebig_cli.failures import Failure
from littlebig_cli.terminal import console
from littlebig_client import Stage

# Seconds between two looks at the counters.
_REFRESH_S = 0.2
_FAILED = "failed"


def stage_of(row: Row) -> str:
    """Who answered a row, or `failed`."""
    return _FAILED if "error" in row else str(row["stage"])


def summary(stages: Counter[str]) -> str:
    """The number of pictures and of those that each stage answered, most first."""
    counts = ", ".join(f"{count:,} {stage}" for stage, count in stages.most_common())
    return f"{stages.total():,} pictures: {counts}"


@dataclass
class Tally:
    """What a run has done so far.

    Attributes:
        passed: pictures that were skipped because the table has them.
        stages: answers by stage, and `failed`.
        began: when the first picture was asked, by the monotonic clock; None before.
    """

    passed: int = 0
    stages: Counter[str] = field(default_factory=Counter)
    began: float | None = None

    def start(self) -> None:
        """Start the clock, at the first picture that is asked."""
        self.began = self.began or time.monotonic()

    def add(self, row: Row) -> None:
        """Count one answer."""
        self.stages[stage_of(row)] += 1

    @property
    def done(self) -> int:
        """Pictures that were skipped or answered."""
        return self.passed + self.stages.total()

    def seconds(self) -> float:
        """Seconds since the first picture was asked."""
        return 0.0 if self.began is None else time.monotonic() - self.began

    def rate(self) -> float:
        """Answers per second."""
        return self.stages.total() / max(self.seconds(), 1e-9)

    def report(self) -> str:
        """One line about a finished run."""
        if not self.stages:
            return "nothing to ask"
        return f"asked for {self.stages.total():,} in {self.seconds():,.1f} s ({self.rate():,.0f}/s)"

    def note(self, total: int | None) -> str:
        """Rate, share escalated, failures and time left."""
        answered = self.stages.total() - self.stages[_FAILED]
        parts = [f"{self.rate():,.0f}/s"]
        if answered:
            little = self.stages[Stage.LITTLE.value]
            parts.append(f"{(answered - little) / answered:.0%} escalated")
        if self.stages[_FAILED]:
            parts.append(f"{self.stages[_FAILED]:,} failed")
        if total is not None and self.seconds() > 1 and self.stages.total():
            parts.append(f"{timedelta(seconds=round(max(total - self.done, 0) / self.rate()))} left")
        return "  ".join(parts)


@contextmanager
def shown(tally: Tally, count: Callable[[], int | None]) -> Iterator[None]:
    """Show the tally as a bar on stderr, if that is a terminal.

    Args:
        tally: what to show; another thread looks at it.
        count: the number of pictures, or None if it is unknown; called in that thread, because it may take long.
    """
    errors = console(stderr=True)
    if not errors.is_terminal:
        yield
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}", markup=False))
    total: list[int | None] = [None]
    ended = threading.Event()
    with Progress(*columns, console=errors, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task("", total=None, note="")

        def count_all() -> None:
            with contextlib.suppress(Failure, OSError):  # the run itself reports it
                total[0] = count()

        def show() -> None:
            while not ended.wait(_REFRESH_S):
                bar.update(task, completed=tally.done, total=total[0], note=tally.note(total[0]))

        threading.Thread(target=count_all, daemon=True).start()
        showing = threading.Thread(target=show, daemon=True)
        showing.start()
        try:
            yield
        finally:
            ended.set()
            showing.join()
