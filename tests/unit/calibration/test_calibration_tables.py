"""Reading and writing tables; everything that can be wrong with them is reported in one line."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calibration_tables import pair_table

from littlebig_calibration.errors import PairChoiceError, TableError
from littlebig_calibration.outcomes import outcomes
from littlebig_calibration.reading import read_tables
from littlebig_calibration.table import NO_CLASS, NO_LABEL, PredictionTable
from littlebig_calibration.writing import write_table

OURS = "file,label,a_label,a_confidence\n"
PUBLISHED = "file_name,predicted_class,predicted_probability\n"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refused(*tables: Path, labels: Path | None = None, classes: int | None = None) -> str:
    with pytest.raises(TableError) as caught:
        read_tables(tables, labels, classes=classes)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_written_table_is_read_back(tmp_path: Path, table: PredictionTable, ending: str) -> None:
    models = tuple(
        replace(
            model,
            weights_sha256=f"{model.name}-hash",
            top5_labels=np.tile(np.arange(5, dtype=np.int32), (len(table.files), 1)),
            top5_probabilities=np.tile(np.float32([0.5, 0.2, 0.1, 0.1, 0.05]), (len(table.files), 1)),
        )
        for model in table.models
    )
    write_table(replace(table, models=models, data_set="photographs"), tmp_path / f"t.{ending}")
    read = read_tables([tmp_path / f"t.{ending}"])
    assert read.files == table.files
    assert np.array_equal(read.labels, table.labels)
    for written, again in zip(table.models, read.models, strict=True):
        assert written.name == again.name
        assert np.array_equal(written.label, again.label)
        assert np.array_equal(written.confidence, again.confidence)
        assert np.array_equal(written.margin, again.margin)
    assert (read.data_set, read.classes) == ("photographs", 10)
    assert read.models[0].weights_sha256 == "small-hash"
    beside = ["t.csv.json"] if ending == "csv" else []
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"t.{ending}", *beside]


def test_what_lies_beside_a_csv_is_checked(tmp_path: Path, table: PredictionTable) -> None:
    write_table(table, tmp_path / "t.csv")
    for text in ("[]", "{}"):
        (tmp_path / "t.csv.json").write_text(text)
        assert refused(tmp_path / "t.csv").endswith("is not what 'littlebig predict' writes beside a CSV: move it away")
    (tmp_path / "t.csv.json").write_text("{")
    assert refused(tmp_path / "t.csv").startswith(f"cannot read {tmp_path}/t.csv.json: ")
    (tmp_path / "t.csv.json").unlink()
    assert read_tables([tmp_path / "t.csv"]).models[0].weights_sha256 is None


def test_published_tables_are_joined_by_file_in_any_order_of_rows(tmp_path: Path) -> None:
    a = write(tmp_path, "a.csv", PUBLISHED + "2.jpg,1,0.5\n1.jpg,0,0.25\n")
    b = write(tmp_path, "b.csv", PUBLISHED + "1.jpg,3,0.75\n2.jpg,4,1\n")
    labels = write(tmp_path, "labels.csv", "file_name,label\n2.jpg,4\n1.jpg,0\n")
    table = read_tables([a, b], labels)
    assert table.files == ("1.jpg", "2.jpg")
    assert table.labels.tolist() == [0, 4]
    assert [(model.name, model.label.tolist()) for model in table.models] == [("a", [0, 1]), ("b", [3, 4])]
    assert table.models[1].confidence.tolist() == [0.75, 1.0]
    assert [source.name for source in table.sources] == ["a.csv", "b.csv", "labels.csv"]
    assert len(table.sources[0].sha256) == 64
    assert table.data_set == tmp_path.name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OURS + "1.jpg,-3,0,0.5\n", "t.csv: 1 value of 'label' out of range (first -3 for 1.jpg): classes are 0 to 9"),
        (OURS + "1.jpg,1.5,0,0.5\n", "t.csv: 'label' is not a column of whole numbers: classes are numbered from 0"),
        (OURS + "1.jpg,10,0,0.5\n", "t.csv: 1 value of 'label' out of range (first 10 for 1.jpg): classes are 0 to 9"),
        (
            OURS + "1.jpg,1,11,0.5\n",
            "t.csv: 1 value of 'a: predicted label' out of range (first 11 for 1.jpg): classes are 0 to 9",
        ),
        (
            OURS + "1.jpg,1,0,1.5\n2.jpg,1,0,-1\n",
            "t.csv: 2 values of 'a: confidence' not in [0, 1] (first 1.5 for 1.jpg): "
            "give probabilities, after the softmax",
        ),
        (
            OURS + "1.jpg,1,0,0.5\n2.jpg,1,0,nan\n",
            "t.csv: 'a_confidence' is missing or NaN for 1 file (2.jpg): fill it in",
        ),
        (
            OURS + "1.jpg,1,0,0.5\n2.jpg,1,0,0.5\n1.jpg,1,0,0.5\n",
            "t.csv: 1 file listed more than once (1.jpg): keep one row for each",
        ),
        (OURS + "1.jpg,cat,0,0.5\n", "t.csv: 'label' is not a column of whole numbers: classes are numbered from 0"),
        (OURS + "1.jpg,1,0,high\n", "t.csv: 'a_confidence' is not a column of numbers: give probabilities in [0, 1]"),
        ("file,label,a_confidence\n1.jpg,1,0.5\n", "t.csv: column 'a_confidence' without 'a_label'"),
        ("file_name,predicted_class\n1.jpg,1\n", "t.csv: column 'predicted_class' without 'predicted_probability'"),
        ("image,label\n1.jpg,1\n", "t.csv: no column 'file' (or 'file_name'), only image, label"),
        ("file,label\n1.jpg,1\n", "t.csv: no predictions in it; give a label file with --labels"),
        (OURS, "t.csv has no rows"),
        ("", "t.csv is empty"),
        (
            "file,part,a_label,a_confidence\n1.jpg,0,1,0.5\n2.jpg,2,1,0.5\n",
            "t.csv: 'part' is 0 for planning images and 1, 2 and so on for pools; take the table that 'littlebig label' "
            "wrote",
        ),
    ],
)
def test_wrong_table_is_reported_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    assert refused(write(tmp_path, "t.csv", text), classes=10) == message


def test_nan_in_a_parquet_table_is_reported_in_one_line(tmp_path: Path, table: PredictionTable) -> None:
    confidence = table.models[0].confidence.copy()
    confidence[3] = np.nan
    models = (replace(table.models[0], confidence=confidence), table.models[1])
    write_table(replace(table, models=models), tmp_path / "t.parquet")
    assert refused(tmp_path / "t.parquet") == (
        "t.parquet: 1 value of 'small: confidence' not in [0, 1] (first nan for 00003.jpg): "
        "give probabilities, after the softmax"
    )


def test_broken_file_is_reported_in_one_line(tmp_path: Path) -> None:
    ragged = refused(write(tmp_path, "t.csv", OURS + "1.jpg,1,0\n"))
    assert re.match(r"t\.csv is neither a CSV nor a Parquet table of ours: .*Expected 4 columns, got 3", ragged)
    cut = refused(write(tmp_path, "t.parquet", "PAR1 and then nothing"))
    assert cut.startswith("t.parquet is neither a CSV nor a Parquet table of ours: ")
    assert refused(tmp_path / "none.csv") == f"cannot read {tmp_path}/none.csv: No such file or directory"


def test_tables_of_different_images_are_refused_with_names_and_counts(tmp_path: Path) -> None:
    names = [f"{index}.jpg" for index in range(6)]
    a = write(tmp_path, "a.csv", PUBLISHED + "".join(f"{name},1,0.5\n" for name in names))
    b = write(tmp_path, "b.csv", PUBLISHED + "0.jpg,1,0.5\nx.jpg,1,0.5\n")
    labels = write(tmp_path, "labels.csv", "file,label\n" + "".join(f"{name},1\n" for name in names))
    assert refused(a, b, labels=labels) == (
        "a.csv and b.csv list different files, 5 only in a.csv (1.jpg, 2.jpg, 3.jpg and 2 more), "
        "1 only in b.csv (x.jpg): predict and label the same images"
    )


def test_labels_must_match_the_predicted_images(tmp_path: Path) -> None:
    a = write(tmp_path, "a.csv", PUBLISHED + "1.jpg,1,0.5\n2.jpg,1,0.5\n")
    few = write(tmp_path, "few.csv", "file,label\n1.jpg,1\n")
    more = write(tmp_path, "more.csv", "file,label\n1.jpg,1\n2.jpg,1\n3.jpg,1\n")
    assert read_tables([a], few).labels.tolist() == [1, NO_LABEL]
    assert refused(a, labels=more) == (
        "a.csv and more.csv list different files, 1 only in more.csv (3.jpg): predict and label the same images"
    )
    assert refused(a, labels=a) == "a.csv: no column 'label'; a label file has 'file' and 'label'"


@pytest.mark.parametrize("text", ["3,\n2.jpg,none\n", "3.0,\n2.jpg,-2\n", " 3 ,\n2.jpg, none \n"])
def test_labels_may_be_missing_or_none_of_the_classes(tmp_path: Path, text: str) -> None:
    a = write(tmp_path, "a.csv", PUBLISHED + "0.jpg,1,0.5\n1.jpg,1,0.5\n2.jpg,1,0.5\n")
    first, rest = text.split(",", 1)
    labels = write(tmp_path, "labels.csv", f"file,label\n0.jpg,{first}\n1.jpg,{rest}")
    assert read_tables([a], labels).labels.tolist() == [3, NO_LABEL, NO_CLASS]
    assert read_tables([a]).labels.tolist() == [NO_LABEL] * 3


def test_labels_of_several_files_complete_each_other(tmp_path: Path) -> None:
    a = write(tmp_path, "a.csv", OURS + "1.jpg,1,0,0.5\n2.jpg,,0,0.5\n")
    labels = write(tmp_path, "labels.csv", "file,label\n2.jpg,7\n")
    assert read_tables([a], labels).labels.tolist() == [1, 7]


def test_parts_missing_labels_and_decoding_are_written_and_read_back(tmp_path: Path, table: PredictionTable) -> None:
    labels, part = table.labels.copy(), np.arange(len(table.files)) % 3
    labels[:2] = NO_LABEL, NO_CLASS
    written = replace(table, labels=labels, part=part.astype(np.int32), decode="scaled")
    for ending in ("csv", "parquet"):
        write_table(written, tmp_path / f"t.{ending}")
        read = read_tables([tmp_path / f"t.{ending}"])
        assert np.array_equal(read.labels, labels)
        assert read.part is not None
        assert np.array_equal(read.part, part)
        assert read.decode == "scaled"


def test_tables_of_pictures_decoded_in_two_ways_are_refused(tmp_path: Path, table: PredictionTable) -> None:
    for model, decode in zip(table.models, ("scaled", "full"), strict=True):
        write_table(replace(table, models=(model,), decode=decode), tmp_path / f"{decode}.parquet")
    assert refused(tmp_path / "scaled.parquet", tmp_path / "full.parquet") == (
        "the tables differ in how pictures were decoded (scaled, full): predict all of them in the same way"
    )


def test_predictions_of_two_weights_are_refused(tmp_path: Path, table: PredictionTable) -> None:
    for weights in ("one", "two"):
        model = replace(table.models[0], weights_sha256=weights)
        write_table(replace(table, models=(model,)), tmp_path / f"{weights}.parquet")
    assert refused(tmp_path / "one.parquet", tmp_path / "two.parquet") == (
        "model 'small' is in two tables, of 2 different weights: give each model once"
    )


def test_two_sources_of_labels_must_agree(tmp_path: Path) -> None:
    a = write(tmp_path, "a.csv", OURS + "1.jpg,1,0,0.5\n2.jpg,2,0,0.5\n")
    labels = write(tmp_path, "labels.csv", "file,label\n1.jpg,1\n2.jpg,7\n")
    assert refused(a, labels=labels) == (
        "a.csv and labels.csv disagree about the labels of 1 file (2.jpg): keep the right ones"
    )


def test_model_in_two_tables_is_refused(tmp_path: Path) -> None:
    a = write(tmp_path, "t.csv", OURS + "1.jpg,1,0,0.5\n")
    b = write(tmp_path, "u.csv", OURS + "1.jpg,1,0,0.5\n")
    assert refused(a, b) == "model 'a' is in two tables: give each model once"


def test_table_with_another_ending_is_not_written(tmp_path: Path, table: PredictionTable) -> None:
    with pytest.raises(TableError, match=r"t\.xls: tables are written as \.parquet or \.csv"):
        write_table(table, tmp_path / "t.xls")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: pair_table(99), "99 images: a calibration needs at least 100, better 5,000"),
        (
            lambda t: replace(t, labels=np.full_like(t.labels, 3)),
            "every label is 3: calibrate on images of all classes that will be served",
        ),
        (
            lambda t: replace(t, models=(t.models[0], replace(t.models[0], name="large"))),
            "'small' and 'large' give the same answer to every image: a pair of them saves nothing; "
            "name two different models by --little and --big",
        ),
        (
            lambda t: replace(t, labels=np.full_like(t.labels, NO_LABEL)),
            "no image has a label: give them with --labels; 'littlebig label' lists the images that need one",
        ),
        (
            lambda t: replace(t, models=(t.models[0], replace(t.models[1], label=(t.models[0].label + 1) % 10))),
            "'small' and 'large' give different answers to 100% of the images: either these were chosen by their answers "
            "(give all that were drawn; where the models agree no label is needed), or the models number their classes "
            "differently",
        ),
        (lambda t: replace(t, models=t.models[:1]), "no table has predictions of 'large': choose among small"),
    ],
    ids=["few images", "one class", "identical", "no labels", "chosen by their answers", "unknown"],
)
def test_tables_that_allow_no_calibration_are_refused(table: PredictionTable, change, message: str) -> None:
    with pytest.raises(PairChoiceError) as caught:
        outcomes(change(table), "small", "large")
    assert str(caught.value) == message
