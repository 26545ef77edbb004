"""`littlebig predict --url`: a server's predictions make the same table as its repository's files."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from littlebig_calibration.reading import read_tables
from littlebig_cli.predict import command
from littlebig_server import TritonServer


@pytest.fixture(scope="module")
def tiny_server(tiny_repository):
    with TritonServer(tiny_repository) as running:
        yield running


@pytest.fixture
def labels(tmp_path):
    """A CSV of 24 pictures of two classes."""
    random = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(24):
        Image.fromarray(random.integers(0, 256, (50, 40, 3), np.uint8)).save(tmp_path / "images" / f"{number}.png")
    path = tmp_path / "labels.csv"
    path.write_text("file,label\n" + "".join(f"{number}.png,{number % 2}\n" for number in range(24)))
    return path


def predict(data, output, *source):
    """Exit code, output and table of the command."""
    result = CliRunner().invoke(command, ["--data", str(data), "--output", str(output), *map(str, source)])
    return result.exit_code, result.output, read_tables([output], None) if output.is_file() else None


def test_server_and_repository_give_the_same_table(tiny_repository, tiny_server, labels, tmp_path):
    _, _, local = predict(labels, tmp_path / "local.parquet", "--repository", tiny_repository)
    code, output, remote = predict(labels, tmp_path / "remote.parquet", "--url", tiny_server.grpc_url)
    assert code == 0, output
    stages = json.loads((tiny_repository / "littlebig.json").read_text())["stages"]
    assert remote.classes == local.classes
    for expected, actual, facts in zip(local.models, remote.models, stages.values(), strict=True):
        assert actual.name == expected.name
        assert actual.weights_sha256 == expected.weights_sha256 == facts["weights"]["sha256"]
        assert np.array_equal(actual.label, expected.label)
        assert actual.confidence == pytest.approx(expected.confidence, abs=1e-5)
        assert actual.margin == pytest.approx(expected.margin, abs=1e-5)


def test_file_that_the_server_cannot_decode_is_named(tiny_server, labels, tmp_path):
    bad = tmp_path / "images" / "7.png"
    bad.write_bytes(b"nonsense")
    code, output, table = predict(labels, tmp_path / "out.parquet", "--url", tiny_server.grpc_url)
    assert (code, table) == (1, None)
    assert re.search(rf"littlebig: '{re.escape(str(bad))}' .*is not a JPEG, PNG, WebP, BMP or GIF image", output)


def test_missing_server_is_reported_in_one_line(labels, tmp_path):
    code, output, _ = predict(labels, tmp_path / "out.parquet", "--url", "127.0.0.1:1")
    assert code == 1
    assert output.startswith("littlebig: no Triton server with our model 'little' answers gRPC at 127.0.0.1:1 (")
    assert output.endswith("): start one with 'littlebig serve', or give --repository\n")


def test_two_sources_of_models_are_refused(labels, tmp_path):
    code, output, _ = predict(labels, tmp_path / "out.parquet", "--url", "x:1", "--pair", "efficientnet-lite")
    assert code == 2
    assert "Give one of --repository, --pair and --url." in output


def test_pair_is_exported_for_the_run(labels, tmp_path, tiny_repository):
    pair = tiny_repository.parent / "tiny.toml"
    code, output, table = predict(labels, tmp_path / "out.parquet", "--pair", pair)
    assert code == 0, output
    _, _, local = predict(labels, tmp_path / "local.parquet", "--repository", tiny_repository)
    assert np.array_equal(table.models[0].confidence, local.models[0].confidence)
