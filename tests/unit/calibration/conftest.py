"""A made-up table, and the published predictions where they are present."""

from pathlib import Path

import pytest
from calibration_tables import pair_table
from tests.shared_data import published_predictions

from littlebig_calibration.reading import read_tables
from littlebig_calibration.table import PredictionTable


@pytest.fixture(scope="session")
def table() -> PredictionTable:
    return pair_table()


@pytest.fixture(scope="session")
def published_table() -> PredictionTable:
    """ResNet50's and ViT's predictions for the 50,000 ImageNet validation images."""
    folder: Path = published_predictions()
    return read_tables([folder / "ResNet50.csv", folder / "ViT.csv"], folder / "labels.csv")
