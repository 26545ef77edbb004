"""What one picture may cost, and the error that refuses it.

Every format estimates the time and the memory of its decoding from the file's header, before a pixel is decoded. The
estimates' constants are upper bounds measured on one core of a server CPU; docs/preprocess.md has the figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from littlebig_quoting import quoted

MIB = 1 << 20


class BadImage(Exception):
    """A picture that cannot become a canonical image: what is wrong with it, and the limit where there is one."""


@dataclass(frozen=True)
class Cost:
    """What decoding and resizing one picture takes at most.

    Attributes:
        ms: time of one core, milliseconds.
        mib: memory beyond the encoded file, MiB.
    """

    ms: float
    mib: float


@dataclass(frozen=True)
class Limits:
    """What is refused.

    Attributes:
        max_bytes: longest encoded picture.
        max_pixels: largest picture, width times height.
        max_decode_ms: longest estimated time of one core, milliseconds.
        max_decode_mib: largest estimated memory, MiB.
        max_parts: most segments, chunks or blocks of a file that are read.
        memory_parameter: name of the parameter that `max_decode_mib` comes from.
    """

    max_bytes: int
    max_pixels: int
    max_decode_ms: int
    max_decode_mib: int
    max_parts: int
    memory_parameter: str = "max_decode_mib"

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> Limits:
        """Read the limits from the `parameters` of config.pbtxt.

        Raises:
            ValueError: naming the parameter that is missing or wrong.
        """
        names = ("max_bytes", "max_pixels", "max_decode_ms", "max_decode_mib", "max_parts")
        return cls(*(positive(parameters, name) for name in names))

    def check_length(self, length: int) -> None:
        """Refuse an encoded picture that is empty or too long."""
        if not length:
            raise BadImage("is empty")
        if length > self.max_bytes:
            raise BadImage(f"has {length} bytes, more than the limit of {self.max_bytes} (parameter max_bytes)")

    def check_size(self, width: int, height: int) -> None:
        """Refuse a picture of too many pixels."""
        if width * height > self.max_pixels:
            raise BadImage(
                f"is {width}x{height} = {width * height} pixels, more than the limit of {self.max_pixels} "
                "(parameter max_pixels)"
            )

    def check_cost(self, what: str, cost: Cost) -> None:
        """Refuse a picture that takes too long or too much memory to decode.

        Args:
            what: the picture in words, `8000x8000 WebP image`.
            cost: its estimate.
        """
        if cost.ms > self.max_decode_ms:
            raise BadImage(
                f"is {_article(what)} {what} that takes about {cost.ms:.0f} ms to decode, more than the limit of "
                f"{self.max_decode_ms} (parameter max_decode_ms)"
            )
        if cost.mib > self.max_decode_mib:
            raise BadImage(
                f"is {_article(what)} {what} that takes about {cost.mib:.0f} MiB to decode, more than the limit of "
                f"{self.max_decode_mib} (parameter {self.memory_parameter})"
            )

    def check_parts(self, kind: str, parts: int) -> None:
        """Refuse a file that is made of too many segments, chunks or blocks."""
        if parts > self.max_parts:
            raise BadImage(
                f"is {_article(kind)} {kind} image of more than {self.max_parts} parts, which is the limit "
                "(parameter max_parts)"
            )


def damaged(kind: str, reason: object) -> BadImage:
    """The error for a file whose format is known and whose content is wrong.

    Args:
        kind: `PNG`.
        reason: what is wrong; text of a decoder is escaped and cut.
    """
    return BadImage(f"is a damaged {kind} image: {quoted(reason)}")


def unsupported(kind: str, reason: str) -> BadImage:
    """The error for a valid file of a kind that is not decoded."""
    return BadImage(f"is {_article(kind)} {kind} image of a kind that is not decoded: {quoted(reason)}")


def positive(parameters: Mapping[str, str], name: str) -> int:
    """A parameter that is a positive whole number.

    Raises:
        ValueError: if it is not.
    """
    text = parameters.get(name, "")
    if not (text.isascii() and text.isdecimal()) or len(text) > 15 or int(text) < 1:
        raise ValueError(f"parameter '{name}' = '{quoted(text)}' is not a positive whole number")
    return int(text)


def _article(what: str) -> str:
    return "an" if what.startswith(("8", "11x", "18x", "RLE")) else "a"
