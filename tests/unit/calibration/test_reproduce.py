"""`littlebig reproduce` on a stand-in: every step that ImageNet would take, with two tiny models."""

import csv
import io

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tests.tiny_pair import tiny_classifier

from littlebig_calibration.reading import read_tables
from littlebig_calibration.reproducing import COLUMNS
from littlebig_cli.reproduce import command
from littlebig_export.costs import pair_costs
from littlebig_export.pair import load_pair


@pytest.fixture
def pair(tmp_path):
    """Two tiny models of one size, so that nothing is resampled and little is the cheaper one."""
    tiny_classifier(tmp_path / "little.onnx", 32, seed=1)
    tiny_classifier(tmp_path / "big.onnx", 32, seed=11, maps=32)
    path = tmp_path / "tiny.toml"
    path.write_text('name = "tiny"\n[little]\nonnx = "little.onnx"\nsize = 32\n[big]\nonnx = "big.onnx"\nsize = 32\n')
    return path


@pytest.fixture
def imagenet(tmp_path):
    """120 random pictures in five synset folders."""
    random = np.random.default_rng(0)
    for number in range(120):
        folder = tmp_path / "val" / f"n{number % 5}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (4, 4, 3), np.uint8)  # few, so that pictures differ in colour
        Image.fromarray(pixels).resize((40, 40)).save(folder / f"{number}.png")
    return tmp_path / "val"


def call(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_a_pair_goes_all_the_way_from_export_to_the_table(imagenet, pair, tmp_path):
    output = tmp_path / "out"
    said = call("--imagenet", imagenet, "--pair", pair, "--output", output, "--format", "csv")
    assert said.exit_code == 0, said.output
    (row,) = csv.DictReader(io.StringIO(said.stdout))
    assert tuple(row) == COLUMNS
    assert (row["pair"], row["published"]) == ("tiny", "")
    table = read_tables([output / "tiny" / "predictions.parquet"], None)
    for stage, model in zip(("little", "big"), table.models, strict=True):
        assert row[stage] == f"{(model.label == table.labels).mean():.2%}"
    little, big = (stage.macs + stage.resampling_macs for stage in pair_costs(load_pair(str(pair)))[0])
    escalated = float(row["escalated"].rstrip("%")) / 100
    assert 0 < escalated < 1
    assert float(row["measured"].rstrip("%")) / 100 == pytest.approx(1 - escalated - little / big, abs=0.002)


def test_a_pair_that_fails_is_named_and_the_others_go_on(imagenet, pair, tmp_path):
    said = call("--imagenet", imagenet, "--pair", "nonsense", "--pair", pair, "--output", tmp_path / "out")
    assert said.exit_code == 1
    assert "littlebig: nonsense: no pair 'nonsense': the shipped ones are " in said.stderr
    assert "tiny" in said.stdout
