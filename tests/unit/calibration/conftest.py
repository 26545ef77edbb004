"""Tables made to measure, and the published predictions where they are at hand."""

import os
from pathlib import Path

import pytest
from calibration_tables import pair_table

from littlebig_calibration.table import PredictionTable


@pytest.fixture
def table() -> PredictionTable:
    return pair_table()


@pytest.fixture(scope="session")
def published() -> Path:
    """The folder with ResNet50's and ViT's predictions for the ImageNet validation images."""
    root = os.environ.get("LITTLEBIG_SHARED_DATA") or Path(__file__).parents[4] / "shared" / "data"
    folder = Path(root) / "predictions"
    if not (folder / "ViT.csv").is_file():
        pytest.skip(f"no published predictions in {folder}; LITTLEBIG_SHARED_DATA names their parent folder")
    return folder
