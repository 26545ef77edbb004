"""Finds pictures: files, folders, patterns, tar shards and URLs, one by one and in a fixed order."""

import glob
import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import click

from littlebig_cli.bulk.picture import Picture, has_pattern, is_url, nothing_inside, refused, text
from littlebig_cli.bulk.shards import OpenShard, is_shard, shard_pictures, split_member
from littlebig_cli.failures import Failure
from littlebig_contract.pictures import is_picture


def pictures(sources: Iterable[str]) -> Iterator[Picture]:
    """All pictures of the sources, in their order; each folder's are sorted.

    Args:
        sources: paths of files and folders, patterns such as `photos/**/*.jpg`, tar shards, `shard.tar::member`, and
            URLs of all these. What cannot be found is a picture that cannot be read.

    Raises:
        Failure: a URL needs a package that is not installed.
    """
    with OpenShard() as shard:
        for source in sources:
            if (member := split_member(source)) is not None:
                yield Picture(text(source), partial(shard.member, *member))
            elif is_url(source):
                from littlebig_cli.bulk.remote import remote_pictures  # noqa: PLC0415  (needs fsspec)

                yield from remote_pictures(source)
            else:
                for path in _matches(source):
                    if is_shard(path):
                        yield from shard_pictures(path)
                    # The suffix spares a look at the disk for each line of a long list.
                    elif not is_picture(Path(path)) and os.path.isdir(path):
                        yield from _folder(path)
                    else:
                        yield _file(path)


def count(sources: Iterable[str]) -> int | None:
    """The number of pictures, or None if finding out would read a store's folders."""
    total = 0
    for source in sources:
        if is_url(source) and not is_picture(Path(source)):
            return None
        total += sum(1 for _ in pictures([source]))
    return total


def listed(path: str) -> Iterator[str]:
    """The sources of a list, one a line; empty lines are skipped.

    Args:
        path: the list, or `-` for stdin.

    Raises:
        Failure: the list cannot be read, or is not UTF-8.
    """
    try:
        with click.open_file(path, "rb") as lines:
            for number, line in enumerate(iter(lines.readline, b"")):  # a line at a time, as a pipe brings them
                if number == 0 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
                    raise Failure(f"{path} is a text in UTF-16: save it as UTF-8, with one picture a line")
                name = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
                if stripped := name.rstrip(b"\r\n"):
                    yield os.fsdecode(stripped)
    except OSError as unreadable:
        raise Failure(f"{path} cannot be read: {unreadable.strerror or unreadable}") from unreadable


def _file(path: str) -> Picture:
    return Picture(text(path), lambda: path)


def _matches(source: str) -> list[str]:
    if not has_pattern(source) or os.path.lexists(source):
        return [source]
    return sorted(glob.glob(source, recursive=True)) or [source]


def _folder(folder: str) -> Iterator[Picture]:
    is_empty = True
    unreadable: list[OSError] = []
    for where, folders, files in os.walk(folder, onerror=unreadable.append):
        folders.sort()
        for file in sorted(files):
            if is_picture(Path(file)):
                is_empty = False
                path = os.path.join(where, file)
                yield _file(path)
    for failure in unreadable:
        yield refused(text(str(failure.filename)), f"cannot be read: {failure.strerror}")
    if is_empty and not unreadable:
        yield refused(text(folder), nothing_inside("folder"))
