"""Standard streams of any kind: terminals of every width and encoding, pipes that close, and Ctrl-C."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table

# Columns of a table that does not go to a terminal: enough that nothing wraps.
_UNLIMITED = 100_000

# In fewer columns rich drops parts of a table, so a narrower terminal wraps the lines itself.
_LEAST_COLUMNS = 60

# What a shell reports for a command that SIGINT or SIGPIPE ended.
_INTERRUPTED, _PIPE_CLOSED = 130, 141


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave a closed pipe to `ends_silently`."""
        raise  # noqa: PLE0704  (called while the error is handled)


def console(*, stderr: bool = False) -> Console:
    """A console that prints text as it is; it wraps only for a terminal."""
    made = _Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = _UNLIMITED
    return made


def print_table(table: Table) -> None:
    """Print a table to stdout; one that is piped keeps each row on one line, without trailing spaces."""
    out = console()
    if out.is_terminal:
        out.width = max(out.width, _LEAST_COLUMNS)
        out.print(table)
        return
    with out.capture() as captured:
        out.print(table)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def accept_anything() -> None:
    """Make stdout and stderr take any text: they escape what their encoding lacks, and exist if they were closed."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  (open until the end)
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def ends_silently() -> Iterator[None]:
    """End the command without a word, with the usual exit code, on Ctrl-C and when the reader of stdout has gone."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None
    except BrokenPipeError:
        # Python flushes stdout once more at its end.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(_PIPE_CLOSED) from None
