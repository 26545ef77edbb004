"""littlebig.json: the one file of a repository that says what it was made of, and whether that is still so."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from littlebig_export.config_pbtxt import reference_repository
from littlebig_export.errors import RepositoryError

PROVENANCE = "littlebig.json"


@cache
def made_by() -> str:
    """SHA-256 over this package's code and the reference repository, a hex string.

    Two exports of the same pair with the same hash are the same but for their date.
    """
    digest = hashlib.sha256()
    for folder in (Path(__file__).parent, reference_repository()):
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".py", ".toml", ".pbtxt", ".json"):
                digest.update(str(path.relative_to(folder)).encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def read_provenance(repository: Path) -> dict[str, Any]:
    """What a repository says of itself.

    Raises:
        RepositoryError: if the folder is no repository that an export wrote.
    """
    path = repository / PROVENANCE
    try:
        provenance = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RepositoryError(f"'{repository}' is not a model repository of ours (no {PROVENANCE})") from None
    except (OSError, ValueError) as reason:
        raise RepositoryError(f"'{path}' cannot be read: {reason}") from reason
    if not isinstance(provenance, dict) or "pair" not in provenance:
        raise RepositoryError(f"'{path}' does not name a pair: export the repository again")
    return provenance


def is_current(repository: Path, pair: str, target: str) -> bool:
    """Whether a folder holds what an export of this pair would write now; weights and threshold aside."""
    try:
        provenance = read_provenance(repository)
    except RepositoryError:
        return False
    wanted = {"name": pair, "target": target, "made_by": made_by()}
    return wanted == {
        "name": provenance["pair"].get("name"),
        "target": provenance.get("target"),
        "made_by": provenance.get("made_by"),
    }
