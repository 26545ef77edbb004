"""Checks that a folder can be served, before a server is started on it."""

import os
from pathlib import Path

from littlebig_contract.provenance import ProvenanceError, read_provenance
from littlebig_contract.stages import MODELS, models_in
from littlebig_server.errors import IncompleteRepositoryError

_REMEDY = "make one with 'littlebig export --output DIR'"


def entry_model(repository: Path) -> str:
    """The model that callers use: `classify`, or in a repository of one stage that stage's alias."""
    try:
        models = models_in(read_provenance(repository))
    except ProvenanceError:
        models = MODELS
    return models[-1]


def check_repository(repository: Path, model: str) -> None:
    """Check that a folder is a model repository that has a model.

    Triton itself starts on an empty folder and then answers every request with "unknown model".

    Args:
        repository: the folder whose sub-folders are models.
        model: the model that clients use.

    Raises:
        IncompleteRepositoryError: if the folder is missing, unreadable, has whitespace in its path, or lacks the model.
    """
    if not repository.exists():
        raise IncompleteRepositoryError(f"model repository '{repository}' does not exist: {_REMEDY}")
    if not repository.is_dir():
        raise IncompleteRepositoryError(f"model repository '{repository}' is not a folder: {_REMEDY}")
    if not os.access(repository, os.R_OK | os.X_OK):
        raise IncompleteRepositoryError(f"model repository '{repository}' cannot be read: change its permissions")
    if any(character.isspace() for character in str(repository.absolute())):
        # Triton starts stubs through a shell with the path unquoted, and waits without end for one that dies.
        raise IncompleteRepositoryError(
            f"model repository '{repository.absolute()}' has a space in its path, which Triton's Python backend cannot "
            "serve: move it, or make a link to it without spaces"
        )
    if not str(repository.absolute()).isascii():
        # Stubs encode paths as ASCII, whatever the locale or PYTHONUTF8 says.
        raise IncompleteRepositoryError(
            f"model repository '{repository.absolute()}' has a path that is not ASCII, which Triton's Python backend "
            "cannot serve: move it, or make a link to it with an ASCII name"
        )
    if not any(repository.iterdir()):
        raise IncompleteRepositoryError(f"model repository '{repository}' has no models: {_REMEDY}")
    models = sorted(folder.name for folder in repository.iterdir() if _is_model(folder))
    if not models:
        raise IncompleteRepositoryError(
            f"'{repository}' is not a model repository, no folder in it has a config.pbtxt or a version: {_REMEDY}"
        )
    if model not in models:
        raise IncompleteRepositoryError(
            f"model repository '{repository}' has no model '{model}', only {', '.join(models)}: {_REMEDY}"
        )


def _is_model(folder: Path) -> bool:
    """Whether Triton sees a model here: a configuration, or a numbered version."""
    if not folder.is_dir():
        return False
    return (folder / "config.pbtxt").is_file() or any(entry.name.isdecimal() for entry in folder.iterdir())
