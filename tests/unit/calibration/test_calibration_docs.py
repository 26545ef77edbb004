"""docs/calibration.md and docs/formats.md describe every field of calibration.json, and only options that exist."""

import dataclasses
import re
from pathlib import Path

import pytest

from littlebig_calibration.certifying import Guarantee
from littlebig_calibration.evidence import Calibration, DataSet, OperatingPoint, Proof, Tolerance
from littlebig_cli.calibrate import command as calibrate
from littlebig_cli.predict import command as predict
from littlebig_cli.search import command as search

PAGES = Path(__file__).parents[3] / "docs"
DOCS = (PAGES / "calibration.md").read_text() + (PAGES / "formats.md").read_text()


@pytest.mark.parametrize("kind", [Calibration, DataSet, Guarantee, OperatingPoint, Proof, Tolerance])
def test_docs_describe_every_field_of_the_evidence(kind: type) -> None:
    assert [field.name for field in dataclasses.fields(kind) if f"`{field.name}`" not in DOCS] == []


def test_docs_describe_only_options_that_exist() -> None:
    named = set(re.findall(r"`(--[a-z-]+)", DOCS))
    commands = (calibrate, predict, search)
    known = {name for command in commands for parameter in command.params for name in parameter.opts}
    known.add("--open-admin")  # of littlebig serve
    assert named
    assert named - known == set()
