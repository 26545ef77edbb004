"""One picture of a list, and how it is named."""

import glob
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from littlebig_client import ImageInput, InvalidImage
from littlebig_contract.pictures import SUFFIXES


@dataclass(frozen=True)
class Picture:
    """One picture of a list.

    Attributes:
        name: its name in the table: path, URL, or `shard.tar::member`.
        read: returns what to send. Valid until the next picture is taken, so a shard is read once, from front to back.
    """

    name: str
    read: Callable[[], ImageInput]


def refusal(reason: str) -> Callable[[], bytes]:
    """What to send for a picture that cannot be read: the client gets the reason instead."""

    def refuse() -> bytes:
        raise InvalidImage(reason)

    return refuse


def refused(name: str, reason: str) -> Picture:
    """A picture that cannot be read."""
    return Picture(name, lambda: refusal(reason))


def is_url(source: str) -> bool:
    """Whether a source is a URL, such as s3://bucket/folder."""
    return "://" in source


def has_pattern(source: str) -> bool:
    """Whether a source has one of the characters that make it a pattern."""
    return glob.has_magic(source)


def text(path: str) -> str:
    r"""The text for a path; bytes that are no UTF-8 become escapes such as `\xff`, so that names stay different."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def path_of(name: str) -> str:
    """The path whose text a name is; the opposite of `text`."""
    if os.path.lexists(name):
        return name
    raw = re.sub(rb"\\x([89a-f][0-9a-f])", lambda byte: bytes.fromhex(byte[1].decode()), name.encode())
    return os.fsdecode(raw)


def nothing_inside(what: str) -> str:
    """The message for a folder or shard without pictures."""
    return f"no image files ({', '.join(SUFFIXES)}) in this {what}"
