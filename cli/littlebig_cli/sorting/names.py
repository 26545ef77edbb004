"""Names of folders for labels, safe on Linux, macOS and Windows."""

import re
from collections import Counter
from collections.abc import Mapping

# Folders that are no labels; safe names do not begin with an underscore.
FAILED = "_failed"
UNSURE = "_below {confidence:g}"

_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
# Bytes of a name; file systems allow 255.
_LONGEST = 100


def folder_names(labels: Mapping[int, str]) -> dict[int, str]:
    """A folder name for each label. Labels whose names become the same get their number behind it.

    Args:
        labels: names of the classes by their index.
    """
    names = {label: safe_name(name) or f"class {label}" for label, name in labels.items()}
    uses = Counter(name.casefold() for name in names.values())
    return {label: name if uses[name.casefold()] == 1 else f"{name} ({label})" for label, name in names.items()}


def safe_name(name: str) -> str:
    """The name without what file systems forbid or treat specially; may be empty."""
    kept = "".join(char if char.isprintable() else " " for char in _FORBIDDEN.sub(" ", name))
    short = " ".join(kept.split()).encode()[:_LONGEST].decode(errors="ignore")
    short = short.lstrip("._ ").rstrip(". ")  # hidden; ours; lost on Windows
    return f"{short} class" if _RESERVED.fullmatch(short) else short
