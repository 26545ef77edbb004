"""What the commands that measure a repository share: which one, made if it is not there, and how they were called."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import click

from littlebig_cli.failures import Failure

PAIR = "efficientnet-lite"

repository_option = click.option(
    "--repository",
    type=click.Path(path_type=Path),
    default=Path("build/model_repository"),
    show_default=True,
    help="The model repository to serve; the default pair is exported to it if it does not exist.",
)


def export_default_pair(repository: Path) -> None:
    """Export the default pair in a process of its own: its libraries are gone before anything is measured."""
    words = ["export", "--pair", PAIR, "--target", "cpu", "--output", str(repository)]
    if subprocess.run([sys.executable, "-m", "littlebig_cli", *words], stdout=2, check=False).returncode:
        raise Failure(f"'littlebig {' '.join(words)}' failed, see above: mend it, or give another --repository")


def as_typed(words: list[str]) -> str:
    """The command, with the machine's own paths left out."""
    named = ["=".join(Path(part).name if part.startswith("/") else part for part in word.split("=")) for word in words]
    return shlex.join(["littlebig", *named])
