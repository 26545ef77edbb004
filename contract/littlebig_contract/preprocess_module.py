"""Loads the code of a repository's model `preprocess`: it lives where Triton serves it, not in a package."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

NAME = "littlebig_preprocess"


def load_preprocess_module(repository: Path) -> ModuleType:
    """Import `preprocess/1/littlebig_preprocess.py` of a model repository, with the modules beside it.

    What was loaded of another repository before keeps working; from here on its names mean this repository's modules.

    Raises:
        FileNotFoundError: if the repository has no such file.
    """
    folder = repository / "preprocess" / "1"
    if not (folder / f"{NAME}.py").is_file():
        raise FileNotFoundError(f"no preprocess/1/{NAME}.py")
    for path in folder.glob("littlebig_*.py"):
        sys.modules.pop(path.stem, None)
    sys.path.insert(0, str(folder.resolve()))
    try:
        importlib.invalidate_caches()
        return importlib.import_module(NAME)
    finally:
        sys.path.pop(0)
