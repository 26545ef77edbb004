"""Data that is not part of the project. Tests that need it are skipped where it is missing."""

import csv
import os
from pathlib import Path

import pytest

ROOT = Path(os.environ.get("LITTLEBIG_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


def labelled_photographs() -> list[tuple[Path, int]]:
    """File and ImageNet label of 1,000 photographs."""
    folder = _folder("imagenet_nips17", "labels.csv")
    with (folder / "labels.csv").open(newline="") as table:
        return [(folder / "images" / row["file"], int(row["label"])) for row in csv.DictReader(table)]


def published_predictions() -> Path:
    """A folder with ResNet50.csv, ViT.csv and labels.csv for the ImageNet validation images."""
    return _folder("predictions", "ViT.csv")


def _folder(name: str, file: str) -> Path:
    folder = ROOT / name
    if not (folder / file).is_file():
        pytest.skip(f"no '{name}' with {file} in {ROOT}: set LITTLEBIG_SHARED_DATA to its parent folder")
    return folder
