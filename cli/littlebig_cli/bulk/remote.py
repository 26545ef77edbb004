"""Finds pictures in object stores and on web servers, through fsspec."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import fsspec

from littlebig_cli.bulk.picture import Picture, has_pattern, nothing_inside, refused, text
from littlebig_cli.bulk.shards import LONGEST, is_shard, shard_pictures
from littlebig_cli.failures import Failure
from littlebig_client import InvalidImage
from littlebig_contract.pictures import is_picture

# Web servers have no folders to list, and `?` in their URLs is no pattern.
_WEB = ("http", "https")


def remote_pictures(url: str) -> Iterator[Picture]:
    """The pictures of a URL: one picture, a tar shard, a pattern, or a folder at any depth.

    Raises:
        Failure: the URL's protocol is unknown, or its package is not installed.
    """
    filesystem, path = _found(url)
    parts = urlsplit(url)
    if is_shard(parts.path):
        yield from shard_pictures(url, lambda: filesystem.open(path, "rb"))
        return
    if parts.scheme in _WEB or (is_picture(Path(path)) and not has_pattern(path)):
        yield _picture(url, filesystem, path)
        return
    files = _files(filesystem, path)
    is_empty = True
    while True:
        try:
            file = next(files, None)
        except Exception as unreadable:  # a store's own errors have no common base
            yield refused(text(url), f"cannot be listed: {unreadable}")
            return
        if file is None:
            break
        name = filesystem.unstrip_protocol(file)
        if is_shard(file) and has_pattern(path):
            is_empty = False
            yield from shard_pictures(name, partial(filesystem.open, file, "rb"))
        elif is_picture(Path(file)):
            is_empty = False
            yield _picture(name, filesystem, file)
    if is_empty:
        yield refused(text(url), "matches nothing" if has_pattern(path) else nothing_inside("folder"))


def open_remote(url: str) -> Any:
    """Open a URL for reading; the file can seek."""
    filesystem, path = _found(url)
    return filesystem.open(path, "rb")


def _found(url: str) -> tuple[Any, str]:
    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except ImportError as missing:
        scheme = url.split("://", maxsplit=1)[0]
        raise Failure(f"{scheme}:// needs a package of its own: {missing}") from missing
    except ValueError as unknown:
        raise Failure(f"{url}: {unknown}") from unknown
    return filesystem, path


def _files(filesystem: Any, path: str) -> Iterator[str]:
    if has_pattern(path):
        yield from sorted(filesystem.glob(path))
        return
    for where, _, files in filesystem.walk(path, on_error="raise"):
        for file in sorted(files):
            yield str(PurePosixPath(where) / file)


def _picture(name: str, filesystem: Any, path: str) -> Picture:
    # Fetched by the client's threads, several at a time.
    return Picture(text(name), lambda: partial(_fetch, filesystem, path))


def _fetch(filesystem: Any, path: str) -> bytes:
    with filesystem.open(path, "rb") as file:
        data = bytes(file.read(LONGEST + 1))
    if len(data) > LONGEST:
        raise InvalidImage(f"has more bytes than the limit of {LONGEST}")
    return data
