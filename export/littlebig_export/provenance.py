"""Whether a repository is what an export would write now, according to its littlebig.json."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import littlebig_contract.provenance as contract
from littlebig_contract.stages import MODELS, STAGES, models_in, stages_computed_in
from littlebig_export.config_pbtxt import reference_repository
from littlebig_export.errors import RepositoryError

PROVENANCE = contract.PROVENANCE


@cache
def made_by() -> str:
    """SHA-256 over the code of this package and the contract, and the reference repository, a hex string.

    Two exports of the same pair with the same hash are the same but for their date.
    """
    digest = hashlib.sha256()
    for folder in (Path(__file__).parent, Path(contract.__file__).parent, reference_repository()):
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".py", ".toml", ".pbtxt", ".json"):
                digest.update(str(path.relative_to(folder)).encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()


def read_provenance(repository: Path) -> dict[str, Any]:
    """Read a repository's littlebig.json.

    Raises:
        RepositoryError: if the folder is no repository that an export wrote.
    """
    try:
        return contract.read_provenance(repository)
    except contract.ProvenanceError as reason:
        raise RepositoryError(str(reason)) from None


def is_current(repository: Path, pair: str, target: str) -> bool:
    """Whether a folder holds the whole cascade as an export would write it now; weights and threshold aside."""
    try:
        provenance = read_provenance(repository)
    except RepositoryError:
        return False
    wanted = {"name": pair, "target": target, "made_by": made_by()}
    whole = models_in(provenance) == MODELS and stages_computed_in(provenance) == STAGES
    return whole and wanted == {
        "name": provenance["pair"].get("name"),
        "target": provenance.get("target"),
        "made_by": provenance.get("made_by"),
    }
