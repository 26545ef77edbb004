"""docs/calibration.md names every field of calibration.json and no option that does not exist."""

import dataclasses
import re
from pathlib import Path

import pytest

from littlebig_calibration.evidence import Calibration, DataSet, Guarantee, OperatingPoint
from littlebig_cli.calibrate import command as calibrate
from littlebig_cli.predict import command as predict
from littlebig_cli.search import command as search

DOCS = (Path(__file__).parents[3] / "docs" / "calibration.md").read_text()


@pytest.mark.parametrize("kind", [Calibration, DataSet, Guarantee, OperatingPoint])
def test_every_field_of_the_evidence_is_described(kind: type) -> None:
    assert [field.name for field in dataclasses.fields(kind) if f"`{field.name}`" not in DOCS] == []


def test_no_option_is_described_that_does_not_exist() -> None:
    named = set(re.findall(r"`(--[a-z-]+)", DOCS))
    commands = (calibrate, predict, search)
    known = {name for command in commands for parameter in command.params for name in parameter.opts}
    known.add("--model-control-mode")  # tritonserver's own
    assert named
    assert named - known == set()
