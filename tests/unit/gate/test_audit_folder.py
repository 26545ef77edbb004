"""What the folder of kept audits holds, and that it stays whole under concurrent writers, crashes and full disks."""

import json
import math
import os
import threading

import numpy as np
import pytest
from littlebig_audit import Prediction
from littlebig_audit_folder import AuditFolder, describe_run
from littlebig_settings import BadSetting, GateSettings
from PIL import Image

AGREED = Prediction(3, 0.5, 0.25), Prediction(3, 0.75, 0.5)
DISAGREED = Prediction(3, 0.5, 0.25), Prediction(4, 0.75, 0.5)
ABOUT = {"audit_rate": 0.01}


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (8, 6, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "audits"


@pytest.fixture
def said():
    return []


@pytest.fixture
def opened(folder, said):
    """opened(max_rows) -> a run in the folder."""

    def make(max_rows=100, count=lambda outcome: None):
        return AuditFolder(folder, max_rows, ABOUT, said.append, count)

    return make


def records(folder, kind=None):
    lines = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    return lines if kind is None else [line for line in lines if line["record"] == kind]


def test_an_agreement_is_a_line_and_a_disagreement_has_its_picture(folder, opened):
    run = opened()
    run.keep(picture(1), *AGREED)
    run.keep(picture(2), *DISAGREED)
    first, agreed, disagreed = records(folder)
    assert first["record"] == "run"
    assert (first["version"], first["audit_rate"]) == (1, 0.01)
    assert agreed["run"] == disagreed["run"] == first["run"]
    assert agreed["little"] == {"class": 3, "confidence": 0.5, "margin": 0.25}
    assert agreed["picture"] is None
    assert disagreed["big"] == {"class": 4, "confidence": 0.75, "margin": 0.5}
    assert np.array_equal(np.array(Image.open(folder / disagreed["picture"])), picture(2))
    assert len(list((folder / "pictures").iterdir())) == 1


def test_only_the_servers_user_can_read_the_folder(folder, opened):
    opened().keep(picture(1), *DISAGREED)
    made = [folder, *folder.rglob("*")]
    assert [path.stat().st_mode & 0o077 for path in made] == [0] * 4


def test_a_score_that_is_no_number_is_null(folder, opened):
    opened().keep(picture(1), Prediction(3, math.nan, math.nan), Prediction(3, 0.5, 0.5))
    assert records(folder, "image")[0]["little"] == {"class": 3, "confidence": None, "margin": None}


def test_counts_are_those_of_the_whole_run(folder, opened):
    run = opened()
    run.count(seen=50, chosen=4)
    run.keep(picture(1), *AGREED)
    run.keep(picture(2), *DISAGREED)
    run.count(dropped=1)
    run.close()
    (counts,) = records(folder, "counts")
    assert {name: counts[name] for name in ("seen", "chosen", "kept", "disagreed", "lost")} == {
        "seen": 50,
        "chosen": 4,
        "kept": 2,
        "disagreed": 1,
        "lost": {"dropped": 1, "failed": 0, "unwritten": 0, "full": 0},
    }


def test_a_run_that_kept_nothing_leaves_nothing(folder, opened):
    run = opened()
    run.count(seen=3)
    run.close()
    assert not folder.exists()


def test_the_folder_holds_no_more_rows_than_it_may(folder, opened, said):
    one, other, outcomes = opened(5), opened(5), []
    other._count = outcomes.append
    for seed in range(4):
        one.keep(picture(seed), *AGREED)
        other.keep(picture(seed), *DISAGREED)
    assert len(records(folder, "image")) == 5
    assert outcomes == ["kept", "kept", "full", "full"]
    assert len(said) == 2  # each run says it once
    assert "has its 5 rows" in said[0]


def test_a_folder_moved_away_is_begun_anew_by_a_run_of_its_own(folder, opened, monkeypatch):
    monkeypatch.setattr("littlebig_audit_folder._COUNTS_EVERY_S", 0.0)
    run = opened(1)
    run.keep(picture(1), *AGREED)
    run.keep(picture(2), *AGREED)
    assert not run.is_open
    moved = folder.rename(folder.with_name("moved"))
    run.poll()
    assert run.is_open
    run.keep(picture(3), *AGREED)
    assert [record["record"] for record in records(folder)] == ["run", "image"]
    assert records(folder)[0]["run"] != records(moved)[0]["run"]


def test_a_folder_moved_away_before_it_is_full_is_begun_anew(folder, opened):
    run = opened()
    run.keep(picture(1), *AGREED)
    folder.rename(folder.with_name("moved"))
    run.keep(picture(2), *AGREED)
    assert [record["record"] for record in records(folder)] == ["run", "image"]


def test_a_line_that_a_crash_cut_short_spoils_no_other(folder, opened):
    opened().keep(picture(1), *AGREED)
    with (folder / "manifest.jsonl").open("a") as manifest:
        manifest.write('{"record": "image", "run')
    opened().keep(picture(2), *AGREED)
    lines = (folder / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(line)["record"] for line in lines[:2] + lines[3:]] == ["run", "image", "run", "image"]


def test_concurrent_runs_write_whole_lines(folder, opened):
    runs = [opened() for _ in range(4)]

    def write(run):
        for seed in range(20):
            run.keep(picture(seed), *DISAGREED)

    threads = [threading.Thread(target=write, args=[run]) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(records(folder, "image")) == 80
    assert len(records(folder, "run")) == 4
    assert len(list((folder / "pictures").iterdir())) == 20


def test_a_folder_that_cannot_be_written_is_reported_once_and_closed(folder, opened, said):
    folder.write_text("a file, where the folder should be")
    outcomes = []
    run = opened(count=outcomes.append)
    for seed in range(3):
        run.keep(picture(seed), *AGREED)
    run.poll()
    run.close()
    assert outcomes == ["unwritten"] * 3
    assert not run.is_open
    (line,) = said
    assert line.startswith(f"audit folder '{folder}' cannot be written, so no more audits are kept: ")


def test_a_picture_that_cannot_be_written_leaves_its_line_and_ends_the_run(folder, opened, said, monkeypatch):
    run = opened()
    run.keep(picture(1), *AGREED)

    def full(*names):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    run.keep(picture(2), *DISAGREED)
    run.keep(picture(3), *AGREED)
    images = records(folder, "image")
    assert [image["picture"] for image in images] == [None, None]
    assert images[1]["little"]["class"] != images[1]["big"]["class"]
    assert list((folder / "pictures").iterdir()) == []
    assert "No space left on device" in said[0]


def test_a_run_is_described_by_its_weights_and_calibration(tmp_path):
    stages = {stage: {"weights": {"sha256": stage * 3}} for stage in ("little", "big")}
    (tmp_path / "littlebig.json").write_text(json.dumps({"stages": stages}))
    settings = GateSettings(0.25, score="margin", audit_rate=0.5, audit_folder="/audits", audit_rows=7)
    about = describe_run(tmp_path, settings, ["4", "4", "3"])
    assert about == {
        "audit_rate": 0.5,
        "audit_rows": 7,
        "score": "margin",
        "threshold": 0.25,
        "image": [4, 4, 3],
        "weights": {"little": "littlelittlelittle", "big": "bigbigbig"},
        "calibration": None,
    }
    (tmp_path / "calibration.json").write_bytes(b"{}")
    assert describe_run(tmp_path, settings, [4])["calibration"].startswith("44136fa3")


def test_a_repository_that_does_not_name_its_weights_keeps_no_audits(tmp_path):
    with pytest.raises(BadSetting, match=r"'audit_folder' needs littlebig\.json beside the models"):
        describe_run(tmp_path, GateSettings(0.25), [4])


def test_an_unexpected_fault_ends_the_run_and_nothing_else(folder, opened, said, monkeypatch):
    run = opened()
    monkeypatch.setattr("PIL.Image.fromarray", lambda pixels: 1 / 0)
    run.keep(picture(1), *DISAGREED)
    assert not run.is_open
    assert "division by zero" in said[0]


def test_no_file_stays_open(folder, opened):
    before = len(os.listdir("/proc/self/fd"))
    run = opened()
    for seed in range(5):
        run.keep(picture(seed), *DISAGREED)
    assert len(os.listdir("/proc/self/fd")) == before
