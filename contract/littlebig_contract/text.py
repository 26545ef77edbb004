"""Makes text from outside safe to print: file names, parameter names and values, messages of servers.

Such text may hold line breaks, terminal escape sequences or marks that reverse the reading direction. Printed as it is,
it could forge lines of a log or hide what a terminal shows.
"""

# Longest line of a message, in characters.
LONGEST = 1000


def printable(text: str, limit: int = LONGEST) -> str:
    r"""Return text without anything that a terminal interprets.

    Control characters, line breaks, marks of reading direction and lone surrogates become escapes such as `\x1b`. All
    other characters stay.

    Args:
        text: any text.
        limit: longest result, in characters; a longer one ends with an ellipsis.
    """
    if not text.isprintable():
        text = "".join(
            char if char.isprintable() else char.encode("unicode_escape").decode() for char in text[: limit + 1]
        )
    return text if len(text) <= limit else text[: limit - 1] + "\N{HORIZONTAL ELLIPSIS}"


def one_line(text: str, limit: int = LONGEST) -> str:
    """Return a message as one printable line: each run of spaces and line breaks is one space; see `printable`."""
    return printable(" ".join(text.split()), limit)
