"""Puts a picture into a folder without overwriting anything."""

import errno
import filecmp
import hashlib
import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

WAYS = ("copy", "symlink", "hardlink")

# Longest file name, in bytes.
_LONGEST = 255
_PARTIAL = ".littlebig.partial"
# Of file systems without hard links.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


class Unreadable(Exception):
    """The picture itself cannot be read; the reason."""


def target_for(source: Path, folder: Path, way: str, planned: dict[Path, Path]) -> tuple[Path, bool]:
    """Where a picture goes, and whether it is there already.

    Its own name, if that is free; else one with a hash of its path, so that the same call finds the same names again.

    Args:
        source: the picture.
        folder: where to put it.
        way: one of WAYS.
        planned: targets of a dry run, with their sources; the new one is added.

    Raises:
        Unreadable: the picture is missing or cannot be read.
    """
    if not os.access(source, os.R_OK) or not source.is_file():
        raise Unreadable("no such file" if not source.exists() else "cannot be read")
    for name in _names(source):
        target = folder / name
        there = planned.get(target, target)
        if not os.path.lexists(there):
            return target, False
        if _is_same(source, there, "copy" if target in planned else way):
            return target, True
    raise AssertionError  # there is no end of names


def place(source: Path, target: Path, way: str) -> None:
    """Put a picture at a free place; it appears there whole or not at all.

    Raises:
        FileExistsError: the place is taken meanwhile.
        OSError: the picture or the place cannot be read or written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if way == "symlink":
        target.symlink_to(source.absolute())
        return
    if way == "hardlink":
        os.link(source.resolve(), target)
        return
    partial = target.with_name(_PARTIAL)
    try:
        shutil.copy2(source, partial)
        _rename(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _rename(partial: Path, target: Path) -> None:
    """Rename without overwriting, which no single call does everywhere."""
    try:
        os.link(partial, target)
    except OSError as refusal:
        if refusal.errno not in _NO_LINKS:
            raise
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.replace(partial, target)


def _is_same(source: Path, there: Path, way: str) -> bool:
    if way == "symlink":
        return there.is_symlink() and os.readlink(there) == str(source.absolute())
    if not there.is_file():
        return False
    if os.path.samefile(source, there):
        return True
    # Sizes and times may be equal by chance: compare the bytes.
    return way == "copy" and filecmp.cmp(source, there, shallow=False)


def _names(source: Path) -> Iterator[str]:
    yield source.name
    mark = hashlib.blake2b(os.fsencode(source), digest_size=4).hexdigest()
    for number in count(1):
        end = f"-{mark}{'' if number == 1 else f'-{number}'}{source.suffix}"
        stem = os.fsencode(source.stem)[: _LONGEST - len(os.fsencode(end))]
        yield os.fsdecode(stem) + end
