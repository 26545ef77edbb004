"""The file of stage curves: what is written is read, and nothing broken is planned with."""

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
    made = curves(curve(0.001, 0.0005), curve(0.003), kind="cpu", capacity=1.75, delay=0.002, weight=0.15, preferred=2)
    write_curves(path, made)
    return made


def broken(path, change):
    found = json.loads(path.read_text())
    change(found)
    path.write_text(json.dumps(found))
    with pytest.raises(CurvesError) as refused:
        read_curves(path, "made-up")
    return str(refused.value).replace(str(path), "FILE")


def test_what_is_written_is_read(path, written):
    assert read_curves(path, "made-up") == written


def test_between_measured_sizes_times_lie_on_a_line_and_beyond_the_largest_nothing_is_known():
    made = Curve({1: (1.0, 3.0), 4: (5.0,)})
    assert made.seconds(4) == [0.0, 2.0, 3.0, 4.0, 5.0]
    assert made.largest == 4
    assert made.spread == (0.5, 1.5, 1.0)


def test_no_file(path):
    with pytest.raises(CurvesError) as refused:
        read_curves(path, "made-up")
    assert str(refused.value) == (
        f"no stage curves at '{path}': measure them on the machine that will serve, with "
        "'littlebig plan --measure --pair made-up --repository DIR' or '--url HOST:PORT'"
    )


def test_curves_of_another_pair(path, written):
    with pytest.raises(CurvesError) as refused:
        read_curves(path, "efficientnet")
    assert str(refused.value) == (
        f"stage curves '{path}' are of the pair 'made-up', not 'efficientnet': give --pair or --curves"
    )


def test_a_file_that_is_no_json(path, written):
    path.write_text("images,ms\n")
    with pytest.raises(CurvesError) as refused:
        read_curves(path, "made-up")
    assert str(refused.value) == (
        f"'{path}' is no file of stage curves (Expecting value: line 1 column 1 (char 0)): {AGAIN}"
    )


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": "littlebig-stage-curves/2"}', "3"])
def test_a_file_of_another_format(path, written, text):
    path.write_text(text)
    with pytest.raises(CurvesError) as refused:
        read_curves(path, "made-up")
    assert str(refused.value) == (
        f"'{path}' is no file of stage curves (its format is not littlebig-stage-curves/1): measure with --measure"
    )


@pytest.mark.parametrize("name", ["pair", "device", "little", "big", "gate", "transport", "machine"])
def test_a_file_that_lacks_a_part(path, written, name):
    assert broken(path, lambda found: found.pop(name)) == f"stage curves 'FILE' lack '{name}': {AGAIN}"


@pytest.mark.parametrize(
    "name", ["batches", "instances", "max_batch_size", "threads", "weight", "max_queue_delay", "preferred_batch_size"]
)
def test_a_stage_that_lacks_a_part(path, written, name):
    assert broken(path, lambda found: found["little"].pop(name)) == f"stage curves 'FILE' lack '{name}': {AGAIN}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: found["device"].update(kind="tpu"), "device kind 'tpu' is none of cpu, gpu"),
        (lambda found: found["device"].update(capacity=0), "capacity 0 is too small"),
        (lambda found: found["little"].update(instances=0), "instances 0 is not a whole number from 1 on"),
        (lambda found: found["big"].update(max_batch_size=1.5), "max_batch_size 1.5 is not a whole number from 1 on"),
        (lambda found: found["big"].update(max_queue_delay=-1), "max_queue_delay -1 is too small"),
        (lambda found: found["gate"].update(instances=True), "instances True is not a whole number from 1 on"),
        (lambda found: found["big"]["batches"].pop(0), "a curve must begin with batches of one image"),
        (lambda found: found["big"]["batches"][0].update(seconds=[]), "seconds [] are not positive times"),
        (lambda found: found["big"]["batches"][0].update(seconds=[0]), "seconds [0] are not positive times"),
        (lambda found: found["big"]["batches"][0].update(seconds=["x"]), "could not convert string to float: 'x'"),
        (lambda found: found.update(transport=-1), "transport -1 is too small"),
        (lambda found: found.update(machine=[]), "'list' object has no attribute 'items'"),
    ],
)
def test_a_file_with_a_wrong_value(path, written, change, message):
    assert broken(path, change) == f"stage curves 'FILE': {message}: {AGAIN}"


def test_a_place_that_cannot_be_written(tmp_path, written):
    (tmp_path / "file").touch()
    with pytest.raises(CurvesError) as refused:
        write_curves(tmp_path / "file" / "curves.json", written)
    assert str(refused.value).startswith(f"cannot write stage curves to '{tmp_path / 'file' / 'curves.json'}': ")
