"""The commands `littlebig calibrate` and `littlebig search`."""

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from calibration_tables import pair_table

from littlebig_calibration.evidence_json import read_calibration
from littlebig_calibration.writing import write_table
from littlebig_cli.main import main


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "t.parquet"
    write_table(pair_table(6000), path)
    return path


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


def test_calibrate_prints_both_rules_and_the_verdict(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    code, out, err = run(capsys, "calibrate", file, "--cost-little", 1, "--cost-big", 4)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == [
        "choice", "threshold", "escalated", "accuracy", "against", "big", "cost", "saved",
    ]  # fmt: skip
    assert max(len(line) for line in lines[:-4]) <= 80
    assert [line.split()[0] for line in lines if "%" in line][:4] == ["small", "large", "paper's", "certified"]
    assert lines[-4].startswith("Escalate when confidence < 0.")
    assert lines[-4].endswith("Against big's accuracy it loses nothing, with 95% confidence.")
    for line, pattern in zip(
        lines[-3:],
        (
            r"[\d,]+ labels decided, among 5,700 certifying images; the models differ on \d+\.\d% of these\.",
            r"Of the kept images \d+ are lost to big and \d+ won: p = 0\.\d+, at most 0\.05 was allowed\.",
            r"On other samples of as many images the same rule escalates \d+\.\d-\d+\.\d%\.",
        ),
        strict=True,
    ):
        assert re.fullmatch(pattern, line)


def test_calibrate_prints_json_csv_and_markdown(capsys: pytest.CaptureFixture[str], file: Path, tmp_path: Path) -> None:
    output = tmp_path / "calibration.json"
    code, out, _ = run(capsys, "calibrate", file, "--format", "json", "--output", output)
    assert code == 0
    assert json.loads(out) == json.loads(output.read_text())
    threshold = read_calibration(output).chosen.threshold
    assert threshold is not None
    _, out, _ = run(capsys, "calibrate", file, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["choice"] for row in rows] == ["small alone", "large alone", "paper's rule", "certified"]
    assert rows[3]["threshold"] == f"{threshold:.4f}"
    _, out, _ = run(capsys, "calibrate", file, "--format", "md")
    assert out.splitlines()[1] == "| --- | --- | --- | --- | --- | --- |"


def test_calibrate_passes_its_options_on(capsys: pytest.CaptureFixture[str], file: Path, tmp_path: Path) -> None:
    output = tmp_path / "calibration.json"
    words = ["--score", "margin", "--answer", "arbitrate", "--max-accuracy-loss", 0.01, "--confidence-level", 0.9]
    code, _, _ = run(capsys, "calibrate", file, *words, "--data-set", "photographs", "--output", output)
    assert code == 0
    calibration = read_calibration(output)
    assert (calibration.score, calibration.data.name, calibration.data.tuning_images) == ("margin", "photographs", 1200)
    assert calibration.guarantee is not None
    assert (calibration.guarantee.max_accuracy_loss, calibration.guarantee.confidence_level) == (0.01, 0.9)
    code, out, _ = run(capsys, "calibrate", file, "--max-escalation", 0.3, "--output", output)
    assert code == 0
    assert "at most 0.3" in out
    assert read_calibration(output).chosen.escalation_rate.value <= 0.3


def test_calibrate_prints_big_only(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write_table(pair_table(150), tmp_path / "t.csv")
    code, out, _ = run(capsys, "calibrate", tmp_path / "t.csv")
    assert code == 0
    assert "\nBig only: no threshold could be certified with these labels.\n" in out
    assert "\nNote: nothing could be certified" in out


def test_calibrate_takes_two_models_or_asks_for_their_names(
    capsys: pytest.CaptureFixture[str], file: Path, tmp_path: Path
) -> None:
    swapped = run(capsys, "calibrate", file, "--little", "large", "--format", "csv")[1]
    assert [line.split(",")[0] for line in swapped.splitlines()[1:3]] == ["large alone", "small alone"]
    assert run(capsys, "calibrate", file, "--big", "small", "--format", "csv")[1] == swapped

    table = pair_table(200)
    write_table(replace(table, models=table.models[:1]), tmp_path / "one.csv")
    write_table(replace(table, models=(*table.models, replace(table.models[0], name="third"))), tmp_path / "three.csv")
    for name, message in (
        ("one", "only 'small' has predictions: a pair needs two models"),
        ("three", "the tables have 3 models (small, large, third): name two with --little and --big"),
    ):
        code, out, err = run(capsys, "calibrate", tmp_path / f"{name}.csv")
        assert (code, out, err) == (1, "", f"littlebig: {message}\n")
    assert run(capsys, "calibrate", tmp_path / "three.csv", "--little", "third", "--big", "large")[0] == 0


def test_calibrate_reports_mistakes_in_one_line(capsys: pytest.CaptureFixture[str], file: Path, tmp_path: Path) -> None:
    code, out, err = run(capsys, "calibrate", tmp_path / "none.csv")
    assert (code, out) == (1, "")
    assert err == f"littlebig: cannot read {tmp_path}/none.csv: No such file or directory\n"
    assert run(capsys, "calibrate", file, "--cost-little", 1)[0] == 2
    code, out, err = run(capsys, "calibrate", file, "--gate", "auto")
    assert (code, out, err) == (2, "", "littlebig: option --gate no longer exists: use --score\n")
    code, _, err = run(capsys, "calibrate", file, "--max-escalation", 2)
    assert (code, err) == (1, "littlebig: the escalation rate 2 is not in (0, 1)\n")


def test_search_prints_and_plots(capsys: pytest.CaptureFixture[str], file: Path, tmp_path: Path) -> None:
    (tmp_path / "costs.csv").write_text("model,cost\nsmall,1\nlarge,4\n")
    words = ["search", file.parent, "--costs", tmp_path / "costs.csv"]
    code, out, err = run(capsys, *words, "--plot", tmp_path / "front.svg")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith("1 pair on 6,000 images.")
    assert (tmp_path / "front.svg").read_text().startswith("<svg ")
    result = json.loads(run(capsys, *words, "--format", "json")[1])
    assert result["best"][0]["little"] == "small"
    rows = list(csv.DictReader(io.StringIO(run(capsys, *words, "--format", "csv")[1])))
    assert [(row["little"], row["big"]) for row in rows] == [("", "small"), ("", "large"), ("small", "large")]
    code, _, err = run(capsys, "search", tmp_path / "none", "--costs", tmp_path / "costs.csv")
    assert (code, err) == (1, f"littlebig: {tmp_path}/none is not a folder\n")
