"""Text from outside, such as a parameter's name or a decoder's message, made fit for an error, a log and a terminal."""

from __future__ import annotations

# Most characters that a message quotes.
_LONGEST = 120


def quoted(text: object, longest: int = _LONGEST) -> str:
    """Text from outside in one line of printable ASCII; an exception without text is quoted by its name.

    Args:
        text: anything; line ends, terminal escapes and what is not ASCII are escaped as in Python.
        longest: most characters of the result; what is cut ends in `...`.
    """
    line = text if isinstance(text, str) else str(text) or type(text).__name__
    line = line[:longest].encode("ascii", "backslashreplace").decode() + line[longest:][:1]
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line)
    return line if len(line) <= longest else f"{line[: longest - 3]}..."
