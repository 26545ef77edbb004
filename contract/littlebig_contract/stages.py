"""Names of the models in a repository, as Triton knows them."""

from collections.abc import Mapping
from typing import Any

STAGES = ("little", "big")
MODELS = (*STAGES, "little_big", "preprocess", "classify")


def models_in(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """The models of a repository: all of the cascade, or one stage and its alias (`littlebig export --only`).

    Args:
        provenance: contents of its littlebig.json.
    """
    only = provenance.get("only")
    return (only["stage"], only["alias"]) if isinstance(only, dict) else MODELS


def stages_computed_in(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """The stages whose graphs a repository holds; another server computes the others.

    Args:
        provenance: contents of its littlebig.json.
    """
    stages = provenance.get("stages")
    facts = stages if isinstance(stages, dict) else {}
    return tuple(stage for stage in STAGES if stage in models_in(provenance) and not facts.get(stage, {}).get("remote"))
