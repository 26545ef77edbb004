"""The file of stage curves: what is written is read, and a broken file is refused."""

import json

import pytest
from tests.planning import curve, curves

from littlebig_benchmarks.planning.curves import Curve, read_curves, write_curves
from littlebig_benchmarks.planning.errors import CurvesError

AGAIN = "measure again with --measure"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "made-up.json"


@pytest.fixture
def written(path):
    made = curves(curve(0.001, 0.0005), curve(0.003), gate=0.0005, kind="cpu", capacity=1.75, threads=2)
    write_curves(path, made)
    return made


def read_error(path, pair="made-up"):
    with pytest.raises(CurvesError) as refused:
        read_curves(path, pair)
    return str(refused.value).replace(str(path), "FILE")


def broken(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return read_error(path)


def test_written_curves_are_read(path, written):
    assert read_curves(path, "made-up") == written
    assert len(path.read_text().splitlines()) == 9


def test_files_of_earlier_versions_are_read(path, written):
    content = json.loads(path.read_text())
    content |= {"transport": 0.001}
    content["little"] |= {"weight": 1.0, "max_queue_delay": 0.0, "preferred_batch_size": 2}
    for batch in content["big"]["batches"]:
        batch["seconds"] = [0.002, 0.004]
    path.write_text(json.dumps(content))
    assert read_curves(path, "made-up") == written


def test_times_between_measured_sizes_are_interpolated():
    made = Curve({1: 2.0, 4: 5.0})
    assert made.seconds(4) == [0.0, 2.0, 3.0, 4.0, 5.0]
    assert made.largest == 4


def test_missing_file_names_the_way_to_measure(path):
    assert read_error(path) == (
        "no stage curves at 'FILE': measure them on the machine that will serve, with "
        "'littlebig plan --measure --pair made-up --repository DIR' or '--url HOST:PORT'"
    )


def test_curves_of_another_pair_are_refused(path, written):
    assert read_error(path, "efficientnet") == (
        "stage curves 'FILE' are of the pair 'made-up', not 'efficientnet': give --pair or --curves"
    )


def test_file_that_is_not_json_is_refused(path, written):
    path.write_text("images,ms\n")
    assert read_error(path) == (
        f"'FILE' is no file of stage curves (Expecting value: line 1 column 1 (char 0)): {AGAIN}"
    )


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": "littlebig-stage-curves/2"}', "3"])
def test_file_of_another_format_is_refused(path, written, text):
    path.write_text(text)
    assert read_error(path) == (
        "'FILE' is no file of stage curves (its format is not littlebig-stage-curves/1): measure with --measure"
    )


@pytest.mark.parametrize("name", ["pair", "device", "little", "big", "gate", "machine"])
def test_missing_part_is_named(path, written, name):
    assert broken(path, lambda content: content.pop(name)) == f"stage curves 'FILE' lack '{name}': {AGAIN}"


@pytest.mark.parametrize("name", ["batches", "instances", "max_batch_size", "threads"])
def test_missing_part_of_a_stage_is_named(path, written, name):
    assert broken(path, lambda content: content["little"].pop(name)) == f"stage curves 'FILE' lack '{name}': {AGAIN}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["device"].update(kind="tpu"), "device kind 'tpu' is none of cpu, gpu"),
        (lambda content: content["device"].update(capacity=0), "capacity 0 is not above 0"),
        (lambda content: content["little"].update(instances=0), "instances 0 is not a whole number from 1 on"),
        (
            lambda content: content["big"].update(max_batch_size=1.5),
            "max_batch_size 1.5 is not a whole number from 1 on",
        ),
        (lambda content: content["gate"].update(instances=True), "instances True is not a whole number from 1 on"),
        (lambda content: content["big"]["batches"].pop(0), "a curve must begin with batches of one image"),
        (lambda content: content["big"]["batches"][0].update(seconds=[]), "seconds [] are not positive times"),
        (lambda content: content["big"]["batches"][0].update(seconds=0), "seconds 0 are not positive times"),
        (lambda content: content["big"]["batches"][0].update(seconds=["x"]), "could not convert string to float: 'x'"),
        (lambda content: content.update(machine=[]), "'list' object has no attribute 'items'"),
    ],
)
def test_wrong_value_is_named(path, written, change, message):
    assert broken(path, change) == f"stage curves 'FILE': {message}: {AGAIN}"


def test_folder_that_cannot_be_written_is_refused(tmp_path, written):
    (tmp_path / "file").touch()
    with pytest.raises(CurvesError) as refused:
        write_curves(tmp_path / "file" / "curves.json", written)
    assert str(refused.value).startswith(f"cannot write stage curves to '{tmp_path / 'file' / 'curves.json'}': ")
