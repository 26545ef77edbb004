"""Labelled photographs for accuracy tests: not part of the project, used where they are, skipped with a reason elsewhere."""

import csv
import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("LITTLEBIG_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def labelled_photographs() -> list[tuple[Path, int]]:
    """File and ImageNet label of 1,000 photographs, or a skip."""
    folder = ROOT / "imagenet_nips17"
    if not (folder / "labels.csv").is_file():
        pytest.skip(
            "the labelled photographs are not here: set LITTLEBIG_SHARED_DATA to the folder with imagenet_nips17"
        )
    with (folder / "labels.csv").open(newline="") as table:
        return [(folder / "images" / row["file"], int(row["label"])) for row in csv.DictReader(table)]
