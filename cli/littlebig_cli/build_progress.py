"""TensorRT's build phases as one progress bar on stderr."""

from __future__ import annotations

import threading
from types import TracebackType

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from littlebig_cli.terminal import console


class BuildProgress:
    """A bar for the outermost phase, and the name of the innermost one beside it; nothing where stderr is no terminal.

    TensorRT calls from several threads.
    """

    def __init__(self) -> None:
        """Nothing is shown before the first phase begins."""
        errors = console(stderr=True)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)
        self._lock = threading.Lock()
        self._top = ""
        self._task = self._bar.add_task("building", total=None)

    def __enter__(self) -> BuildProgress:
        """Show the bar."""
        if not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clear it away."""
        if not self._bar.disable:
            self._bar.stop()

    def phase_started(self, phase: str, parent: str | None, steps: int) -> None:
        """Name the phase; the outermost phase restarts the bar."""
        with self._lock:
            if parent is None:
                self._top = phase
                self._bar.reset(self._task, total=steps, description=phase)
            else:
                self._bar.update(self._task, description=phase)

    def step_done(self, phase: str, step: int) -> None:
        """Move the bar, if it was a step of the outermost phase."""
        with self._lock:
            if phase == self._top:
                self._bar.update(self._task, completed=step + 1)

    def phase_finished(self, phase: str) -> None:
        """Fill the bar at the end of the outermost phase."""
        with self._lock:
            if phase == self._top:
                self._bar.update(self._task, completed=self._bar.tasks[0].total)
