"""BatchClassifier: batches of NumPy arrays and DataFrames."""

import inspect
import math
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from fake_triton import NAMES, encoded_picture

from littlebig_client import InvalidRequest, ServerUnreachable
from littlebig_client.batch import COLUMNS, BatchClassifier

PICTURES = [encoded_picture(1), b"junk", encoded_picture(2, 0.3)]


@pytest.fixture
def batch():
    return {"path": np.array(["a", "b", "c"]), "bytes": np.array(PICTURES, object)}


def test_batch_gets_answers_and_loses_its_pictures(server, batch):
    answered = BatchClassifier(server.url, policy="little")(batch)
    assert list(answered) == ["path", *COLUMNS]
    assert {name: values.dtype for name, values in answered.items() if name in COLUMNS} == {
        name: np.dtype(dtype) for name, dtype in COLUMNS.items()
    }
    assert list(answered["path"]) == ["a", "b", "c"]
    assert list(answered["label"]) == [1, -1, 2]
    assert list(answered["name"]) == [NAMES[1], "", NAMES[2]]
    assert list(answered["stage"]) == ["little", "", "little"]
    assert math.isnan(answered["confidence"][1])
    assert list(answered["error"]) == ["", "input 'encoded_image': not an image that can be decoded", ""]


def test_pictures_stay_on_request(server, batch):
    assert list(BatchClassifier(server.url, keep_column=True)(batch)) == ["path", "bytes", *COLUMNS]


def test_column_may_hold_paths(server, tmp_path):
    (tmp_path / "a.png").write_bytes(encoded_picture(3))
    classify = BatchClassifier(server.url, column="path", keep_column=True)
    answered = classify({"path": np.array([str(tmp_path / "a.png"), str(tmp_path / "b.png")])})
    assert list(answered["label"]) == [3, -1]
    assert list(answered["error"]) == ["", "no such file"]


def test_data_frame_keeps_its_index(server, batch):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(batch, index=[7, 8, 9])
    answered = BatchClassifier(server.url)(frame)
    assert list(answered.columns) == ["path", *COLUMNS]
    assert list(answered.index) == [7, 8, 9]
    assert list(answered["label"]) == [1, -1, 2]
    assert "bytes" in frame


def test_pickled_copy_answers_alike(server, batch):
    classify = BatchClassifier(server.url, threshold=0.2, concurrency=3, timeout=7)
    copy = pickle.loads(pickle.dumps(classify))  # noqa: S301
    assert list(copy(batch)["label"]) == list(classify(batch)["label"])
    assert server.seen[0].parameters["threshold"] == 0.2


def test_empty_batch_keeps_its_types(server):
    answered = BatchClassifier(server.url)({"bytes": np.array([], object)})
    assert {name: values.dtype for name, values in answered.items()} == {
        name: np.dtype(dtype) for name, dtype in COLUMNS.items()
    }


def test_missing_column_is_named(server, batch):
    with pytest.raises(InvalidRequest, match="the batch has no column 'content': it has path, bytes"):
        BatchClassifier(server.url, column="content")(batch)


def test_wrong_option_is_refused_before_the_first_batch():
    with pytest.raises(InvalidRequest, match="threshold must be a number from 0 to 1, not 7"):
        BatchClassifier(threshold=7)


def test_page_has_every_parameter_with_its_default():
    page = (Path(__file__).parents[3] / "docs" / "batch.md").read_text(encoding="utf-8")
    (heading,) = re.findall(r"^`BatchClassifier\((.*?)\)`$", page, re.MULTILINE)
    parameters = inspect.signature(BatchClassifier).parameters.values()
    in_code = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters]
    on_page = [word.strip().replace('"', "'") for word in heading.split(",")]
    assert [word.lstrip("*") for word in on_page if word != "*"] == in_code
    assert all(f"`{name}`" in page for name in COLUMNS)


def test_missing_server_fails_the_batch(server, batch):
    server.stop()
    with pytest.raises(ServerUnreachable):
        BatchClassifier(server.url)(batch)
