"""`littlebig label` on the command line: what it writes, what it says, and what it refuses."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from littlebig_calibration.reading import read_tables
from littlebig_calibration.table import ModelColumns, PredictionTable
from littlebig_calibration.writing import write_table
from littlebig_cli.calibrate import command as calibrate
from littlebig_cli.label import command
from littlebig_cli.predict import command as predict


@pytest.fixture(scope="module")
def truth() -> PredictionTable:
    """3,000 images of which little gets 80 and big 90 % right; little is wrong where its confidence is low."""
    random = np.random.default_rng(3)
    labels = random.integers(0, 5, 3000).astype(np.int32)
    confidence = random.random(3000).astype(np.float32)
    little = np.where(random.random(3000) < 0.6 + 0.4 * confidence, labels, (labels + 1) % 5).astype(np.int32)
    big = np.where(random.random(3000) < 0.95, labels, (labels + 2) % 5).astype(np.int32)
    models = (ModelColumns("s", little, confidence, confidence), ModelColumns("l", big, np.full(3000, 0.9, np.float32)))
    files = tuple(f"{number:04d}.png" for number in range(3000))
    return PredictionTable(files, labels, models, data_set="cats", classes=5)


@pytest.fixture(scope="module")
def folder(truth: PredictionTable, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unlabelled")
    (folder / "images").mkdir()
    for number, file in enumerate(truth.files):
        if truth.models[0].label[number] != truth.models[1].label[number]:
            Image.new("L", (4, 4), number % 256).save(folder / "images" / file)
    write_table(replace(truth, labels=np.full(3000, -1, np.int32)), folder / "t.parquet")
    (folder / "names.txt").write_text("ant\nbee\ncat\ndog\nelk\n")
    return folder


def label(folder: Path, output: Path, *words: object, data: str = "images") -> tuple[int, str]:
    arguments = [folder / "t.parquet", "--data", folder / data, "--output", output, "--max-accuracy-loss", 0.02]
    result = CliRunner().invoke(command, [str(word) for word in (*arguments, *words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_label_writes_table_list_and_page_and_says_what_is_next(folder: Path, tmp_path: Path) -> None:
    code, said = label(folder, tmp_path / "lab el", "--budget", 200, "--class-names", folder / "names.txt")
    assert code == 0, said
    assert sorted(path.name for path in (tmp_path / "lab el").iterdir()) == [
        "label.html", "labels.csv", "plan.json", "predictions.parquet",
    ]  # fmt: skip
    with (tmp_path / "lab el" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert 100 <= len(rows) <= 200
    assert {row["label"] for row in rows} == {""}
    assert rows[0]["suggestion_1"].split()[1] < rows[0]["suggestion_2"].split()[1]
    assert "3,000 images: 600 plan, " in said
    assert "\n2.00% (asked)" in said
    assert f"'{tmp_path}/lab el/predictions.parquet' --labels '{tmp_path}/lab el/labels.csv'" in said
    assert said.endswith("--max-accuracy-loss 0.02\n")
    plan = json.loads((tmp_path / "lab el" / "plan.json").read_text())
    table = read_tables([tmp_path / "lab el" / "predictions.parquet"])
    assert len(table.files) == plan["planning"] + plan["images"]


def test_label_goes_on_with_fresh_images(folder: Path, truth: PredictionTable, tmp_path: Path) -> None:
    _, said = label(folder, tmp_path / "first", "--budget", 500)
    assert "the classes' names are not known" in said
    refused = label(folder, tmp_path / "second", "--after", tmp_path / "first")
    assert refused[0] == 1
    lines = (tmp_path / "first" / "labels.csv").read_text().splitlines()
    known = dict(zip(truth.files, truth.labels.tolist(), strict=True))
    filled = ["file,label", *(f"{line.split(',')[0]},{known[line.split(',')[0]]}" for line in lines[1:])]
    (tmp_path / "first" / "labels.csv").write_text("\n".join(filled))
    code, said = label(folder, tmp_path / "second", "--after", tmp_path / "first")
    assert code == 1  # 3,000 images are all in the first pool
    assert said.startswith("littlebig: ")
    assert said.count("\n") == 1


def test_label_refuses_in_one_line(folder: Path, tmp_path: Path) -> None:
    def refusal(*words: object, data: str = "images", output: Path = tmp_path / "new") -> str:
        code, said = label(folder, output, *words, data=data)
        assert code == 1
        assert said.startswith("littlebig: ")
        assert said.count("\n") == 1, said
        assert not (tmp_path / "new").exists()
        return said

    assert "a budget of 10 labels certifies nothing: give at least 50" in refusal("--budget", 10)
    assert f"'{tmp_path}' exists already and may hold labels" in refusal("--budget", 200, output=tmp_path)
    assert "pictures to label not in" in refusal("--budget", 200, data="")
    assert "'s' is named as little and as big" in refusal("--budget", 200, "--little", "s", "--big", "s")
    assert "no table has predictions of 'x'" in refusal("--budget", 200, "--little", "s", "--big", "x")
    assert "has no margins of 'l'" in refusal("--budget", 200, "--little", "l", "--big", "s", "--score", "margin")


def test_budget_and_data_are_asked_for(folder: Path, tmp_path: Path) -> None:
    code, said = label(folder, tmp_path / "new")
    assert code == 2
    assert "Give --budget" in said
    result = CliRunner().invoke(command, [str(folder / "t.parquet"), "--output", str(tmp_path / "x"), "--budget", "99"])
    assert result.exit_code == 2
    assert "Give --data" in result.output


def test_audits_are_labelled_without_another_folder(truth: PredictionTable, tmp_path: Path) -> None:
    audits = tmp_path / "audits"
    (audits / "pictures").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(audits / "pictures" / "p.png")
    weights = {"little": "aa", "big": "bb"}
    lines = [{"record": "run", "run": "r", "version": 1, "audit_rate": 0.1, "weights": weights}]
    for little, big, score in zip(
        truth.models[0].label.tolist(), truth.models[1].label.tolist(), truth.models[0].confidence.tolist(), strict=True
    ):
        answers = {
            name: {"class": answer, "confidence": score, "margin": score}
            for name, answer in zip(weights, (little, big), strict=True)
        }
        picture = "pictures/p.png" if little != big else None
        lines.append({"record": "image", "run": "r", **answers, "picture": picture})
    (audits / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = [audits, "--budget", 200, "--output", tmp_path / "lab", "--max-accuracy-loss", 0.02]
    result = CliRunner().invoke(command, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    table = read_tables([tmp_path / "lab" / "predictions.parquet"])
    assert [(model.name, model.weights_sha256) for model in table.models] == [("little", "aa"), ("big", "bb")]
    assert (tmp_path / "lab" / "labels.csv").read_text().count("pictures/p.png") > 100


def test_docs_describe_only_options_that_exist() -> None:
    page = (Path(__file__).parents[3] / "docs" / "labelling.md").read_text()
    known = {name for each in (command, calibrate, predict) for option in each.params for name in option.opts}
    named = set(re.findall(r"(?<!-)--[a-z][a-z-]+", page))
    assert named
    assert named <= known
