"""The journal: answers as they arrive, one JSON object a line, so that an interruption loses none.

Each answer is one write, which outlives the death of this process. The first line holds the options of the requests.
A line that an interruption cut off is removed at the next start.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from littlebig_cli.bulk.lock import lock
from littlebig_cli.failures import Failure


class Journal:
    """The journal of one output, for one process at a time."""

    def __init__(self, output: Path, options: Mapping[str, Any]) -> None:
        """Open the output's journal, or begin one.

        Args:
            output: the table that the journal is for.
            options: those that change answers. A journal with others is refused.

        Raises:
            Failure: it cannot be written, another process writes it, or its options are others.
        """
        self._output = output
        self.path = output.with_name(f"{output.name}.journal")
        self.rows_added = 0
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            lock(self._file, output)
            self._end = self._whole()
            os.ftruncate(self._file, self._end)
        except OSError as unwritable:
            raise self._failure(unwritable) from unwritable
        self._is_new = self._end == 0
        if self._is_new:
            self._write({"options": options})
        elif (begun := self._options()) != options:
            self.close()
            raise other_options(self.path, begun, output)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The answers so far."""
        with self.path.open("rb") as lines:
            next(lines, None)
            for line in lines:
                if (row := _parsed(line)) is not None:
                    yield row

    def add(self, row: Mapping[str, Any]) -> None:
        """Keep one answer.

        Raises:
            Failure: it cannot be written. The journal is then as it was before.
        """
        self._write(row)
        self.rows_added += 1

    @property
    def has_rows(self) -> bool:
        """Whether there is any answer."""
        return self.rows_added > 0 or not self._is_new

    def __enter__(self) -> Journal:
        """Return the journal."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Close the journal; one without answers is removed."""
        self.close()

    def close(self) -> None:
        """Close the journal; one without answers is removed."""
        if self._file >= 0:
            if not self.has_rows:
                self.path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = -1

    def remove(self) -> None:
        """Remove the journal, once the table has its answers."""
        self.path.unlink()  # before the lock goes
        os.close(self._file)
        self._file = -1

    def _write(self, row: Mapping[str, Any]) -> None:
        line = json.dumps(row).encode() + b"\n"
        try:
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError as full:
            os.ftruncate(self._file, self._end)
            raise self._failure(full) from full
        self._end += len(line)

    def _whole(self) -> int:
        """Bytes of the lines that are complete."""
        end = 0
        with self.path.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    end += len(line)
        return end

    def _options(self) -> object:
        with self.path.open("rb") as lines:
            header = _parsed(next(lines, b""))
        if header is None or "options" not in header:
            raise Failure(f"{self.path} is not a journal of answers: move it away, or give another --output")
        return header["options"]

    def _failure(self, reason: OSError) -> Failure:
        return Failure(
            f"{self.path} cannot be written: {reason.strerror or reason}; all answers before are kept: "
            "mend that and give the same command again"
        )


def other_options(file: Path, begun: object, output: Path) -> Failure:
    """The failure of a run with other options than the answers that are there."""
    given = begun if isinstance(begun, dict) else {}
    words = ", ".join(f"{name} {'as served' if value is None else value}" for name, value in given.items())
    return Failure(
        f"the answers in {file} were asked with {words or 'unknown options'}: "
        f"give the same options, or another --output than {output}"
    )


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None  # a machine that lost its power may leave zeros
    return row if isinstance(row, dict) else None
