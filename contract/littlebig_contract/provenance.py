"""littlebig.json: the file of a model repository that says which pair, weights and threshold it was made with."""

import json
from pathlib import Path
from typing import Any

PROVENANCE = "littlebig.json"


class ProvenanceError(ValueError):
    """A folder without a readable littlebig.json: which folder, what is wrong, and what to do."""


def read_provenance(repository: Path) -> dict[str, Any]:
    """Read a repository's littlebig.json.

    Args:
        repository: a model repository.

    Returns:
        The JSON object; it has at least `pair.name`, a string.

    Raises:
        ProvenanceError: if the file is missing, unreadable, or names no pair.
    """
    path = repository / PROVENANCE
    try:
        provenance = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProvenanceError(
            f"'{repository}' is not a model repository of Little-Big (no {PROVENANCE}): "
            "make one with 'littlebig export --output DIR'"
        ) from None
    except (OSError, ValueError) as reason:
        raise ProvenanceError(f"'{path}' cannot be read ({reason}): export the repository again") from None
    pair = provenance.get("pair") if isinstance(provenance, dict) else None
    if not isinstance(pair, dict) or not isinstance(pair.get("name"), str):
        raise ProvenanceError(f"'{path}' does not name a pair: export the repository again")
    result: dict[str, Any] = provenance
    return result
