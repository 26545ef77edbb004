"""From a folder without labels to a filled list: predict, label, and what the labels prove."""

import csv
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from littlebig_calibration.labelling.second_pool import first_labels, proved
from littlebig_calibration.reading import read_tables
from littlebig_cli.label import command as label
from littlebig_cli.predict import command as predict


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 small pictures in two folders, none of them labelled."""
    folder, random = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for number in range(400):
        below = folder / ("day" if number % 2 else "night")
        below.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8)).resize((40, 40)).save(below / f"{number}.png")
    return folder


def test_a_folder_without_labels_becomes_a_list_whose_labels_certify(
    tiny_repository: Path, photographs: Path, tmp_path: Path
) -> None:
    run = CliRunner()
    words = ["--repository", tiny_repository, "--data", photographs, "--unlabelled", "--output", tmp_path / "t.parquet"]
    result = run.invoke(predict, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    table = read_tables([tmp_path / "t.parquet"])
    assert len(table.files) == 400
    assert set(table.labels.tolist()) == {-1}
    words = [tmp_path / "t.parquet", "--data", photographs, "--budget", 300, "--output", tmp_path / "lab"]
    result = run.invoke(label, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    with (tmp_path / "lab" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    # Whoever fills in the list says that little is always right.
    little = dict(zip(table.files, table.models[0].label.tolist(), strict=True))
    with (tmp_path / "lab" / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "label"], *([row["file"], little[row["file"]]] for row in rows)])
    found = proved(*first_labels(table, tmp_path / "lab"))
    assert found.threshold is not None
    assert found.lost == 0
    assert found.won > 0
