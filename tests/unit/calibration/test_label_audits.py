"""An audit folder as a table, and what is refused because it is no random sample."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from littlebig_calibration.errors import TableError
from littlebig_calibration.labelling.audits import is_audit_folder, picture_path, read_audits
from littlebig_calibration.table import NO_LABEL, UNCLEAR

RUN = {
    "record": "run",
    "run": "r1",
    "version": 1,
    "audit_rate": 0.01,
    "threshold": 0.4,
    "weights": {"little": "aa", "big": "bb"},
}


def image(
    little: int, big: int, picture: str | None = None, run: str = "r1", margin: float | None = 0.5
) -> dict[str, Any]:
    answers = {
        stage: {"class": label, "confidence": 0.75, "margin": margin}
        for stage, label in (("little", little), ("big", big))
    }
    return {"record": "image", "run": run, **answers, "picture": picture}


def counts(kept: int, run: str = "r1", **lost: int) -> dict[str, Any]:
    return {"record": "counts", "run": run, "seen": 10_000, "chosen": 200, "kept": kept, "disagreed": 1, "lost": lost}


def write(folder: Path, records: Iterable[dict[str, Any] | str]) -> Path:
    (folder / "pictures").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "pictures" / "p.png")
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(TableError) as error:
        read_audits(folder)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{folder}/manifest.jsonl: ")


def test_audits_are_a_table_without_labels(tmp_path: Path) -> None:
    write(tmp_path, [RUN, image(1, 1), image(3, 4, "pictures/p.png"), image(2, 2), counts(3)])
    table = read_audits(tmp_path)
    assert table.files == ("agreed-1", "agreed-3", "pictures/p.png")
    assert table.labels.tolist() == [NO_LABEL] * 3
    assert [(model.name, model.weights_sha256, model.label.tolist()) for model in table.models] == [
        ("little", "aa", [1, 2, 3]),
        ("big", "bb", [1, 2, 4]),
    ]
    margin = table.model("little").margin
    assert margin is not None
    assert margin.dtype == np.float32
    assert is_audit_folder(tmp_path)
    assert not is_audit_folder(tmp_path / "pictures")


def test_a_picture_seen_twice_counts_twice(tmp_path: Path) -> None:
    write(tmp_path, [RUN, image(3, 4, "pictures/p.png"), image(3, 4, "pictures/p.png")])
    table = read_audits(tmp_path)
    assert table.files == ("pictures/p.png", "pictures/p.png#2")
    assert {picture_path(tmp_path, file) for file in table.files} == {tmp_path / "pictures" / "p.png"}


def test_lost_images_and_lost_pictures_count_against_little(tmp_path: Path) -> None:
    agreed = [image(1, 1) for _ in range(300)]
    write(
        tmp_path, [RUN, *agreed, image(3, 4, None), image(3, 4, "pictures/gone.png"), counts(302, dropped=1), '{"rec']
    )
    table = read_audits(tmp_path)
    unclear = [file for file, label in zip(table.files, table.labels, strict=True) if label == UNCLEAR]
    assert unclear == ["lost-1", "lost-2", "unseen-301", "unseen-302"]
    row = table.files.index("lost-1")
    assert table.model("little").label[row] != table.model("big").label[row]
    assert table.model("little").confidence[row] == 1


def test_a_full_folder_only_ends_the_sample(tmp_path: Path) -> None:
    write(tmp_path, [RUN, *[image(1, 1)] * 3, counts(3, full=500)])
    assert len(read_audits(tmp_path).files) == 3


def test_margins_that_are_missing_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, [RUN, image(1, 1, margin=None), image(1, 1)])
    assert read_audits(tmp_path).model("little").margin is None


OTHER = RUN | {"run": "r2"}


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([image(1, 1)], "run r1 has audits but no record of its sampling rate"),
        ([RUN | {"audit_rate": None}, image(1, 1)], "sampling rate None is not in (0, 1]"),
        (
            [RUN, OTHER | {"audit_rate": 0.05}, image(1, 1), image(1, 1, run="r2")],
            "images were sampled at rates 0.01 and 0.05, so some count more often than others",
        ),
        (
            [RUN, OTHER | {"weights": {"little": "cc", "big": "bb"}}, image(1, 1), image(1, 1, run="r2")],
            "audits of 2 different weights of little are mixed",
        ),
        ([RUN | {"weights": None}, image(1, 1)], "audits of 1 different weights of little are mixed, or weights are"),
        ([RUN, image(1, 1), counts(5)], "run r1 kept 5 audits and 1 are here: removing audits changes the sample"),
        ([RUN, *[image(1, 1)] * 90, counts(90, dropped=9, failed=1)], "10 chosen images of 100 lost (9 dropped, 1 failed)"),
        ([RUN | {"version": 2}, image(1, 1)], "format version 2, this littlebig reads version 1"),
        ([RUN], " has no audits: set audit_rate and audit_folder"),
    ],
    ids=["no run", "no rate", "rates", "weights", "unknown weights", "removed", "dropped", "version", "empty"],
)  # fmt: skip
def test_what_is_no_random_sample_is_refused(tmp_path: Path, records: list[dict[str, Any]], message: str) -> None:
    assert message in refusal(write(tmp_path, records))
