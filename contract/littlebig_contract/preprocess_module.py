"""Loads the code of a repository's model `preprocess`: it lives where Triton serves it, not in a package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

NAME = "littlebig_preprocess"


def load_preprocess_module(repository: Path) -> ModuleType:
    """Import `preprocess/1/littlebig_preprocess.py` of a model repository.

    Raises:
        FileNotFoundError: if the repository has no such file.
    """
    path = repository / "preprocess" / "1" / f"{NAME}.py"
    spec = importlib.util.spec_from_file_location(NAME, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"no preprocess/1/{path.name}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
