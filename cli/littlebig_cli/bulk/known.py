"""Which pictures have a row already."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from littlebig_cli.answer_rows import Row


class Known:
    """Names of pictures, and the rows of those that failed.

    A name is kept as 8 bytes of its hash, some 60 MB per million pictures. Two of a hundred million names are taken for
    one with a chance of 1 in 3,000.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._seen: set[int] = set()
        self._rows_of_failed: Counter[int] = Counter()

    def __len__(self) -> int:
        """The number of names."""
        return len(self._seen)

    def add(self, name: str) -> bool:
        """Add a name; whether it is new."""
        before = len(self._seen)
        self._seen.add(_key(name))
        return len(self._seen) > before

    def add_row(self, row: Row, *, ask_again: bool = False) -> None:
        """Add a row, in the order in which rows were written.

        Args:
            row: as `row_of` makes it.
            ask_again: leave the name new.
        """
        key = _key(row["file"])
        if "error" in row or key in self._rows_of_failed:
            self._rows_of_failed[key] += 1
        if not ask_again:
            self._seen.add(key)

    def latest(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The rows that were added, without the failures that a later row of the same picture replaces."""
        left = self._rows_of_failed.copy()
        for row in rows:
            if left:
                key = _key(row["file"])
                if key in left:
                    left[key] -= 1
                    if left[key]:
                        continue
            yield row


def _key(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
