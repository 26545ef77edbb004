"""The commands of docs/tutorial.md run, in their order and as they stand there, on crops of photographs."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.default_pair import exported_default_pair

from littlebig_benchmarks.images import crops
from littlebig_calibration.reading import read_tables
from littlebig_contract.pictures import sample_photographs

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
PREDICT, LABEL, CALIBRATE, SERVE, CLASSIFY = range(5)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 300 photographs, the exported pair and the command, after the first two blocks."""
    folder = tmp_path_factory.mktemp("tutorial")
    shutil.copytree(exported_default_pair(), folder / "build" / "model_repository")
    (folder / "photographs").mkdir()
    for number, picture in enumerate(crops(sample_photographs(), 300, seed=0)):
        (folder / "photographs" / f"{number}.jpg").write_bytes(picture)
    (folder / "bin").mkdir()
    command = folder / "bin" / "littlebig"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m littlebig_cli "$@"\n')
    command.chmod(0o755)
    for block in (PREDICT, LABEL):
        process = run(folder, BLOCKS[block])
        assert process.returncode == 0, process.stderr
    return folder


def environment(folder: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", **more}


def run(folder: Path, code: str, **more: str) -> subprocess.CompletedProcess[str]:
    words = ["/bin/sh", "-ec", code]
    return subprocess.run(
        words, cwd=folder, env=environment(folder, **more), capture_output=True, text=True, check=False
    )


def give_labels(folder: Path, model: int) -> None:
    """Fill in the list as if little (0) or big (1) were always right."""
    table = read_tables([folder / "predictions.parquet"])
    right = dict(zip(table.files, table.models[model].label.tolist(), strict=True))
    path = folder / "labelling" / "labels.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["file", "label"], *([row["file"], right[row["file"]]] for row in rows)])


def test_page_has_the_commands_in_this_order():
    assert [re.match(r"littlebig (\w+)", block).group(1) for block in BLOCKS] == [
        *("predict", "label", "calibrate", "serve", "classify")
    ]


def test_labels_that_prove_nothing_are_big_only_and_change_nothing(home):
    give_labels(home, 1)
    before = (home / "build" / "model_repository" / "littlebig.json").read_text()
    process = run(home, BLOCKS[CALIBRATE])
    assert process.returncode == 1
    for line in re.findall(r"^(Big only: .*|littlebig: nothing was certified, .*?:)", PAGE, re.MULTILINE):
        assert line in process.stdout + process.stderr
    assert (home / "build" / "model_repository" / "littlebig.json").read_text() == before


def test_labels_become_a_threshold_that_is_served(home):
    give_labels(home, 0)
    process = run(home, BLOCKS[CALIBRATE])
    assert process.returncode == 0, process.stderr
    assert "loses at most 1.000%, with 95% confidence" in process.stdout
    assert (home / "report.html").is_file()
    threshold = re.search(r"serves threshold (\S+),", process.stderr).group(1)
    free = {f"LITTLEBIG_SERVE_{name}_PORT": "0" for name in ("GRPC", "HTTP", "METRICS")}
    words = ["/bin/sh", "-c", f"exec {BLOCKS[SERVE]}"]
    serving = subprocess.Popen(
        words, cwd=home, env=environment(home, **free), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        lines = [serving.stdout.readline() for _ in range(5)]
        url = lines[0].split()[1]
        process = run(home, BLOCKS[CLASSIFY], LITTLEBIG_URL=url)
        assert (process.returncode, process.stderr) == (0, "")
        with (home / "answers.csv").open(newline="") as file:
            answers = list(csv.DictReader(file))
        assert len(answers) == 300
        assert all(answer["error"] == "" for answer in answers)
        confident = [answer for answer in answers if float(answer["confidence"]) >= float(threshold)]
        assert any(answer["stage"] == "little" for answer in confident)
    finally:
        serving.terminate()
        serving.communicate(timeout=60)
    assert serving.returncode == 0
