"""docs/calibration.md names every field of calibration.json and every option of both commands."""

import dataclasses
import re
from pathlib import Path

import pytest

from littlebig_calibration.evidence import Calibration, DataSet, Guarantee, OperatingPoint
from littlebig_cli.calibrate import command as calibrate

DOCS = (Path(__file__).parents[3] / "docs" / "calibration.md").read_text()


@pytest.mark.parametrize("kind", [Calibration, DataSet, Guarantee, OperatingPoint])
def test_every_field_of_the_evidence_is_described(kind: type) -> None:
    assert [field.name for field in dataclasses.fields(kind) if f"`{field.name}`" not in DOCS] == []


def test_no_option_is_described_that_does_not_exist() -> None:
    named = set(re.findall(r"`(--[a-z-]+)", DOCS))
    known = {name for parameter in calibrate.params for name in parameter.opts} | {"--costs", "--plot"}
    assert named
    assert named - known == set()
