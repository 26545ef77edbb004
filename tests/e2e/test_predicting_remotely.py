"""`littlebig predict --url`: a server's answers make the same table as its repository's files."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from littlebig_calibration.reading import read_tables
from littlebig_cli.predict import command
from littlebig_server import TritonServer


@pytest.fixture
def pictures(tmp_path):
    """24 pictures of two classes, named by a CSV."""
    random = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(24):
        Image.fromarray(random.integers(0, 256, (50, 40, 3), np.uint8)).save(tmp_path / "images" / f"{number}.png")
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\n" + "".join(f"{number}.png,{number % 2}\n" for number in range(24)))
    return labels


def predicted(data, output, *source):
    said = CliRunner().invoke(command, ["--data", str(data), "--output", str(output), *map(str, source)])
    return said.exit_code, said.output, read_tables([output], None) if output.is_file() else None


def test_a_server_and_its_repository_give_the_same_table(tiny_repository, pictures, tmp_path):
    _, _, local = predicted(pictures, tmp_path / "local.parquet", "--repository", tiny_repository)
    with TritonServer(tiny_repository) as server:
        code, said, remote = predicted(pictures, tmp_path / "remote.parquet", "--url", server.grpc_url)
    assert code == 0, said
    stages = json.loads((tiny_repository / "littlebig.json").read_text())["stages"]
    assert remote.classes == local.classes
    for ours, theirs, facts in zip(local.models, remote.models, stages.values(), strict=True):
        assert theirs.name == ours.name
        assert theirs.weights_sha256 == ours.weights_sha256 == facts["weights"]["sha256"]
        assert np.array_equal(theirs.label, ours.label)
        assert theirs.confidence == pytest.approx(ours.confidence, abs=1e-5)
        assert theirs.margin == pytest.approx(ours.margin, abs=1e-5)


def test_a_file_that_is_no_picture_is_named_by_the_server_too(tiny_repository, pictures, tmp_path):
    bad = tmp_path / "images" / "7.png"
    bad.write_bytes(b"nonsense")
    with TritonServer(tiny_repository) as server:
        code, said, table = predicted(pictures, tmp_path / "out.parquet", "--url", server.grpc_url)
    assert (code, table) == (1, None)
    assert re.search(rf"littlebig: '{re.escape(str(bad))}' .*is not a JPEG, PNG, WebP, BMP or GIF image", said)


def test_no_server_is_one_line(pictures, tmp_path):
    code, said, _ = predicted(pictures, tmp_path / "out.parquet", "--url", "127.0.0.1:1")
    assert code == 1
    assert said.startswith("littlebig: no Triton server with our model 'little' answers gRPC at 127.0.0.1:1 (")
    assert said.endswith("): start one with 'littlebig serve', or give --repository\n")


def test_only_one_source_is_taken(pictures, tmp_path):
    code, said, _ = predicted(pictures, tmp_path / "out.parquet", "--url", "x:1", "--pair", "efficientnet-lite")
    assert code == 2
    assert "Give one of --repository, --pair and --url." in said


def test_a_pair_is_exported_for_the_run(pictures, tmp_path, tiny_repository):
    pair = tiny_repository.parent / "tiny.toml"
    code, said, table = predicted(pictures, tmp_path / "out.parquet", "--pair", pair)
    assert code == 0, said
    _, _, local = predicted(pictures, tmp_path / "local.parquet", "--repository", tiny_repository)
    assert np.array_equal(table.models[0].confidence, local.models[0].confidence)
