"""Reads pictures from tar shards, as WebDataset writes them."""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from lzma import LZMAError
from pathlib import Path
from tarfile import EOFHeaderError, HeaderError, ReadError  # type: ignore[attr-defined]
from typing import IO, Any

from littlebig_cli.bulk.picture import Picture, is_url, nothing_inside, refusal, refused, text
from littlebig_client import ImageInput
from littlebig_contract.pictures import is_picture

# Longest member that is read, in bytes. The server's limit is lower, and says so.
LONGEST = 64 << 20

_SHARD = re.compile(r"\.(tar|tgz|tar\.(gz|bz2|xz))$", re.IGNORECASE)
_MEMBER = re.compile(r"(.+?\.(?:tar|tgz|tar\.(?:gz|bz2|xz)))::(.+)", re.IGNORECASE | re.DOTALL)
_BROKEN = (tarfile.TarError, EOFError, OSError, zlib.error, LZMAError)


def is_shard(path: str) -> bool:
    """Whether a name is that of a tar file, compressed or not."""
    return _SHARD.search(path) is not None


def split_member(source: str) -> tuple[str, str] | None:
    """The shard and the member's name of `shard.tar::member`; None for other sources."""
    found = _MEMBER.fullmatch(source)
    return None if found is None else (found[1], found[2])


def shard_pictures(
    shard: str, opened: Callable[[], AbstractContextManager[IO[bytes]]] | None = None
) -> Iterator[Picture]:
    """The pictures of a shard in its order; other members are skipped. One that breaks off ends with an error.

    Args:
        shard: path or URL, the first part of the pictures' names.
        opened: opens a shard that is not on this machine.
    """
    is_empty = True
    try:
        # A store's shard is read from front to back, without seeking.
        with (
            opened() if opened else open(shard, "rb") as file,
            tarfile.open(fileobj=file, mode="r|*" if opened else "r:*", tarinfo=_Header, bufsize=1 << 20) as tar,
        ):
            while (member := tar.next()) is not None:
                vars(tar)["members"] = []  # else it keeps every header
                if member.isreg() and is_picture(Path(member.name)):
                    is_empty = False
                    yield Picture(f"{text(shard)}::{text(member.name)}", partial(_image, tar, member))
    except _BROKEN as broken:
        yield refused(text(shard), _reason(broken))
        return
    if is_empty:
        yield refused(text(shard), nothing_inside("shard"))


class OpenShard:
    """Reads single members; keeps the last shard open, because lists name a shard's members in a row."""

    def __init__(self) -> None:
        """Open nothing yet."""
        self._name = ""
        self._tar: Any = None
        self._closing = ExitStack()

    def __enter__(self) -> OpenShard:
        """Return the reader."""
        return self

    def __exit__(self, *raised: object) -> None:
        """Close the last shard."""
        self._closing.close()

    def member(self, shard: str, name: str) -> ImageInput:
        """The content of one member, or a function that raises the reason why there is none."""
        try:
            if shard != self._name:
                self._open(shard)
            return _image(self._tar, self._tar.getmember(name))
        except KeyError:
            return refusal(f"no such member in {text(shard)}")
        except _BROKEN as broken:
            self._name = ""
            return refusal(_reason(broken))

    def _open(self, shard: str) -> None:
        self._name = ""
        self._closing.close()
        if is_url(shard):
            from littlebig_cli.bulk.remote import open_remote  # noqa: PLC0415  (needs fsspec)

            file = self._closing.enter_context(open_remote(shard))
        else:
            file = self._closing.enter_context(open(shard, "rb"))  # noqa: SIM115
        tar = tarfile.open(fileobj=file, mode="r:*", tarinfo=_Header)  # noqa: SIM115
        self._tar = self._closing.enter_context(tar)
        self._name = shard


class _Header(tarfile.TarInfo):
    """A header; tarfile takes one that is cut off or damaged for the end of the shard."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Any:
        """Read the next header."""
        try:
            return super().fromtarfile(tarfile)
        except HeaderError as broken:
            if isinstance(broken, EOFHeaderError):
                raise
            raise ReadError(f"{broken} at byte {tarfile.offset:,}") from broken


def _image(tar: tarfile.TarFile, member: tarfile.TarInfo) -> ImageInput:
    if member.size > LONGEST:
        return refusal(f"has {member.size} bytes, more than the limit of {LONGEST}")
    try:
        file = tar.extractfile(member)
        return b"" if file is None else file.read()
    except _BROKEN as broken:
        return refusal(_reason(broken))


def _reason(broken: Exception) -> str:
    if isinstance(broken, FileNotFoundError):
        return "no such file"
    return f"is not a complete tar file: {broken}"
