"""Options of the whole suite: a limit on the time of each fast test."""

from __future__ import annotations

import pytest

UNLIMITED = ("slow", "soak", "large", "gpu")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--max-seconds", type=float, default=None, help="Fail each test without the marker slow that takes longer."
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    limit = item.config.getoption("--max-seconds")
    too_long = limit is not None and report.when == "call" and report.duration > limit
    if too_long and report.passed and not any(item.get_closest_marker(name) for name in UNLIMITED):
        report.outcome = "failed"
        report.longrepr = f"took {report.duration:.0f} s of at most {limit:g} s: make it faster, or mark it slow"
    return report
