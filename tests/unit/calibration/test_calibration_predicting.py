"""Predictions equal those of the served files, and an interrupted run can be resumed."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from tests.default_pair import exported_tiny_pair

from littlebig_calibration import predicting
from littlebig_calibration.errors import CalibrationError, TableError
from littlebig_calibration.labelled import find_images, find_labelled_images
from littlebig_calibration.predicting import predict
from littlebig_calibration.reading import read_tables
from littlebig_calibration.served import ServedModels


@pytest.fixture(scope="module")
def repository():
    return exported_tiny_pair()


@pytest.fixture
def data(tmp_path):
    """Five classes of four random pictures each."""
    random = np.random.default_rng(0)
    for label in range(5):
        folder = tmp_path / "data" / f"n{label}"
        folder.mkdir(parents=True)
        for number in range(4):
            Image.fromarray(random.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "data"


def refusal(action) -> str:
    with pytest.raises(CalibrationError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_table_equals_the_graphs_outputs(repository, data, tmp_path):
    models = ServedModels(repository)
    images = find_labelled_images(data)
    predict(models, images, tmp_path / "out.parquet", data_set="tiny")
    table = read_tables([tmp_path / "out.parquet"], None)
    assert table.files == images.files
    assert table.labels.tolist() == [label for label in range(5) for _ in range(4)]
    assert table.classes == 5
    assert table.data_set == "tiny"
    assert table.decode == models.decode == "scaled"
    provenance = json.loads((repository / "littlebig.json").read_text())
    pixels = np.stack([models.canonical_image(data / file) for file in images.files])
    for stage in ("little", "big"):
        session = onnxruntime.InferenceSession(str(repository / stage / "1" / "model.onnx"))
        label, confidence, margin = session.run(["label", "confidence", "margin"], {"image": pixels})
        column = table.model(provenance["stages"][stage]["model"])
        assert column.label.tolist() == label.ravel().tolist()
        assert column.confidence == pytest.approx(confidence.ravel(), abs=1e-5)
        assert column.margin == pytest.approx(margin.ravel(), abs=1e-5)
        assert column.weights_sha256 == provenance["stages"][stage]["weights"]["sha256"]


def test_a_run_is_not_resumed_with_another_decoding_or_export(repository, data, tmp_path):
    images = find_labelled_images(data)
    models = ServedModels(repository)
    key = predicting._key(models, images)
    assert predicting._key(ServedModels(repository), images) == key
    models.decode = "full"
    assert predicting._key(models, images) != key
    # The same weights in graphs of another exporter.
    again = shutil.copytree(repository, tmp_path / "again")
    provenance = json.loads((again / "littlebig.json").read_text())
    (again / "littlebig.json").write_text(json.dumps({**provenance, "created": "later"}))
    assert predicting._key(ServedModels(again), images) == key
    (again / "littlebig.json").write_text(json.dumps({**provenance, "made_by": "0" * 64}))
    assert predicting._key(ServedModels(again), images) != key


def test_interrupted_run_is_resumed(repository, data, tmp_path, monkeypatch):
    monkeypatch.setattr(predicting, "PART", 8)
    models, images, done = ServedModels(repository), find_labelled_images(data), []

    def interrupt(number):
        done.append(number)
        if sum(done) > 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(models, images, tmp_path / "out.parquet", data_set="tiny", progress=interrupt)
    assert not (tmp_path / "out.parquet").exists()
    decoded = []
    monkeypatch.setattr(
        models, "canonical_image", lambda path: decoded.append(path) or ServedModels.canonical_image(models, path)
    )
    resumed = predict(models, images, tmp_path / "out.parquet", data_set="tiny")
    assert len(decoded) == 12
    assert {path.name for path in tmp_path.iterdir()} == {"data", "out.parquet"}
    whole = predict(ServedModels(repository), images, tmp_path / "whole.parquet", data_set="tiny")
    assert np.array_equal(resumed.models[0].confidence, whole.models[0].confidence)


def test_file_name_that_is_no_text_is_refused_before_the_run(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9.png")).touch()
    with pytest.raises(TableError, match="1 file name not in this locale's encoding"):
        find_images(tmp_path)


def test_file_that_is_not_a_picture_is_named_and_nothing_is_written(repository, data, tmp_path):
    (data / "n2" / "1.png").write_bytes(b"nonsense")
    images = find_labelled_images(data)
    message = refusal(lambda: predict(ServedModels(repository), images, tmp_path / "out.parquet", data_set="x"))
    assert message == f"'{data / 'n2' / '1.png'}' is not a JPEG, PNG, WebP, BMP or GIF image"
    assert not (tmp_path / "out.parquet").exists()


def test_csv_lists_files_beside_it_or_in_images(data, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\ndata/n1/0.png,3\ndata/n0/0.png,1\n")
    assert find_labelled_images(labels).files == ("data/n0/0.png", "data/n1/0.png")
    assert find_labelled_images(labels).labels == (1, 3)
    data.rename(tmp_path / "images")
    labels.write_text("file,label\nn1/0.png,3\n")
    assert find_labelled_images(labels).folder == tmp_path / "images"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,class\na.png,1\n", ": needs a heading with the columns file and label, and rows below it"),
        ("file,label\n", ": needs a heading with the columns file and label, and rows below it"),
        ("file,label\na.png,cat\n", ", line 2: 'a.png,cat' is not a file and a class index"),
        ("file,label\na.png,1\na.png,2\n", ": 1 file listed more than once: a.png"),
    ],
)
def test_wrong_csv_is_reported_with_its_line(tmp_path, text, message):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    assert refusal(lambda: find_labelled_images(path)) == f"{path}{message}"


@pytest.mark.parametrize(
    "text",
    [
        "file;label\n./a.png;1\n",
        "file\tlabel\na.png\t1\n",
        '\ufeff"file","label"\r\n"a.png","1"\r\n',
        " file , label \n\n a.png , 1 , more\n",
        "name,label,file\nx,1,a.png\n",
    ],
)
def test_csv_of_every_dialect_is_read(tmp_path, text):
    (tmp_path / "a.png").touch()
    (tmp_path / "labels.CSV").write_text(text, encoding="utf-8")
    found = find_labelled_images(tmp_path / "labels.CSV")
    assert (found.files, found.labels) == (("a.png",), (1,))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,label\n".encode("utf-16"), "' is not UTF-8 (byte 0): save it as UTF-8"),
        (b"file,label,label\na.png,0,1\n", ": has the column label twice: leave one"),
        (b'file,label\n"a.png,0\n' + b"b.png,1\n" * 20_000, ": is no CSV: field larger than field limit (131072)"),
        (b"file,label\na.png," + b"9" * 5000, f", line 2: 'a.png,{'9' * 80}' is not a file and a class index"),
        (b"./a.png 0\na.png 1\n", ": 1 file listed more than once: a.png"),
    ],
)
def test_a_label_file_that_says_nothing_certain_is_refused(tmp_path, content, message):
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    assert refusal(lambda: find_labelled_images(path)).removeprefix("'") == f"{path}{message}"


def test_missing_files_and_empty_folders_are_reported(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("file,label\na.png,1\nb.png,2\n")
    assert refusal(lambda: find_labelled_images(path)) == f"{path}: 2 files not in '{tmp_path}': a.png, b.png"
    assert "has no folder per class with images in it" in refusal(lambda: find_labelled_images(tmp_path))
    assert "is neither a folder" in refusal(lambda: find_labelled_images(Path("x.txt")))


def one_folder(data, tmp_path):
    """All pictures in one folder, like ImageNet's validation images."""
    flat = tmp_path / "val"
    flat.mkdir()
    for number, path in enumerate(sorted(data.rglob("*.png"))):
        path.rename(flat / f"{number}.JPEG")
    return flat


def test_val_txt_labels_a_folder_of_images(data, tmp_path):
    flat, labels = one_folder(data, tmp_path), tmp_path / "val.txt"
    labels.write_text("".join(f"{number}.JPEG {number // 4}\n" for number in reversed(range(20))))
    images = find_labelled_images(flat, labels)
    assert images.folder == flat
    assert dict(zip(images.files, images.labels, strict=True)) == {f"{n}.JPEG": n // 4 for n in range(20)}


def test_kaggles_synsets_are_classes_in_sorted_order(tmp_path):
    flat, labels = tmp_path / "val", tmp_path / "LOC_val_solution.csv"
    flat.mkdir()
    lines = ["ImageId,PredictionString"]
    for number in range(1000):
        (flat / f"ILSVRC2012_val_{number:08}.JPEG").write_bytes(b"")
        lines.append(f"ILSVRC2012_val_{number:08},n{9999 - number:08} 85 1 499 272 ")
    labels.write_text("\n".join(lines) + "\n")
    images = find_labelled_images(flat, labels)
    assert images.files[0] == "ILSVRC2012_val_00000000.JPEG"
    assert images.labels == tuple(reversed(range(1000)))
    labels.write_text("\n".join(lines[:-1]) + "\n")
    assert refusal(lambda: find_labelled_images(flat, labels)) == (
        f"{labels}: 999 synsets occur, not 1000: the class of each follows only from all of them; give a .csv of "
        "file,label"
    )


def test_labels_that_do_not_match_the_folder_are_refused(data, tmp_path):
    flat, labels = one_folder(data, tmp_path), tmp_path / "val.txt"
    labels.write_text("".join(f"{number}.JPEG 1\n" for number in range(18)))
    assert refusal(lambda: find_labelled_images(flat, labels)) == (
        f"{labels}: 2 files of '{flat}' without a label: 18.JPEG, 19.JPEG"
    )
    labels.write_text("".join(f"{number}.JPEG 1\n" for number in range(21)))
    assert refusal(lambda: find_labelled_images(flat, labels)) == f"{labels}: 1 file not in '{flat}': 20.JPEG"
    labels.write_text("490\n361\n")
    assert refusal(lambda: find_labelled_images(flat, labels)) == (
        f"{labels}: has numbers without files, like ImageNet's devkit, which orders the classes in another way than the "
        "models do: give val.txt or LOC_val_solution.csv"
    )
    assert refusal(lambda: find_labelled_images(labels, labels)) == (
        f"'{labels}' is not a folder: with a label file, give the folder of its images"
    )


def test_folder_that_is_not_a_repository_is_refused_with_the_command_to_make_one(tmp_path):
    message = refusal(lambda: ServedModels(tmp_path))
    assert message.startswith(f"'{tmp_path}' is not a model repository of Little-Big (")
    assert message.endswith("make one with 'littlebig export --output DIR'")
