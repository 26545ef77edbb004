"""Writes the commit of the checkout into what is built from it, for `littlebig --version`."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_FILE = "littlebig_contract/commit.txt"


class CommitHook(BuildHookInterface[Any]):
    """Adds the file that `littlebig_contract.version` reads. A wheel from an sdist takes the sdist's."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file, unless this is an editable install, which asks git at run time, or no checkout."""
        root = Path(self.root)
        if version == "editable" or not (root / ".git").exists():
            return
        words = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
        try:
            commit = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return
        self._folder = tempfile.TemporaryDirectory()
        file = Path(self._folder.name) / "commit.txt"
        file.write_text(commit, encoding="utf-8")
        build_data["force_include"][str(file)] = f"contract/{_FILE}" if self.target_name == "sdist" else _FILE
