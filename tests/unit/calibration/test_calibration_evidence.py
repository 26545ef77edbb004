"""calibration.json: a written file is read back, and invalid fields are refused by name."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from calibration_tables import pair_table

from littlebig_calibration.calibrating import CalibrationSettings, calibrate
from littlebig_calibration.errors import EvidenceError
from littlebig_calibration.evidence import Calibration, Costs
from littlebig_calibration.evidence_json import from_json, read_calibration, to_json, write_text


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    plain = calibrate(pair_table(8000), "small", "large", CalibrationSettings(costs=Costs(1, 4, "GMACs")))
    return replace(plain, answer="arbitrate", offset=1.5)


def test_written_calibration_is_read_back(calibration: Calibration, tmp_path: Path) -> None:
    write_text(to_json(calibration), tmp_path / "calibration.json")
    assert read_calibration(tmp_path / "calibration.json") == calibration
    assert [path.name for path in tmp_path.iterdir()] == ["calibration.json"]


def changed(calibration: Calibration, path: str, value: object) -> str:
    data = json.loads(to_json(calibration))
    *parents, last = path.split(".")
    place = data
    for parent in parents:
        place = place[parent]
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("format", "other", 'not a calibration: no "format": "littlebig-calibration"'),
        ("format_version", 1, "format version 1, this littlebig reads 2: calibrate again"),
        ("score", KeyError, "calibration.score is missing"),
        ("colour", "red", "calibration.colour is not a known field"),
        ("score", "entropy", "score is 'entropy', not one of confidence, margin"),
        ("rule", "best", "rule is 'best', not one of certified, paper, max-escalation"),
        ("answer", "big", "answer is 'big' and offset is 1.0: an offset is for arbitrate"),
        ("chosen.threshold", 1.5, "threshold is 1.5, not in [0, 1]"),
        ("chosen.threshold", "0.5", "calibration.chosen.threshold is '0.5', not of type float"),
        ("chosen.accuracy.low", None, "calibration.chosen.accuracy.low is None, not of type float"),
        ("chosen.escalation_if_repeated", [0.1], "calibration.chosen.escalation_if_repeated has 1 entries, not 2"),
        ("data", [], "calibration.data is not an object"),
        ("data.images", 8000.5, "calibration.data.images is 8000.5, not of type int"),
        ("data.images", True, "calibration.data.images is True, not of type int"),
        ("notes", "none", "calibration.notes is not a list"),
        ("curve.difference", [0.5], "the curve's columns differ in length"),
        ("little.weights_sha256", 5, "calibration.little.weights_sha256 is 5, not of type str"),
    ],
)
def test_invalid_fields_are_refused_by_name(calibration: Calibration, path: str, value, message: str) -> None:
    text = changed(calibration, path, value)
    if path == "answer":
        text = text.replace(f'"offset": {calibration.offset}', '"offset": 1.0')
    with pytest.raises(EvidenceError) as caught:
        from_json(text)
    assert str(caught.value) == message


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    with pytest.raises(EvidenceError, match=r"^cannot read .*calibration\.json: No such file or directory$"):
        read_calibration(path)
    path.write_text("{")
    with pytest.raises(EvidenceError, match=r"calibration\.json: not JSON: "):
        read_calibration(path)


def test_missing_folder_is_reported(calibration: Calibration, tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match=r"^cannot write .*: No such file or directory$"):
        write_text(to_json(calibration), tmp_path / "none" / "calibration.json")
