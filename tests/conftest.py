"""What the whole suite shares: a limit on the time of each fast test, and a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import chromium

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


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Page]:
    """A headless Chromium with one page."""
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    page = chromium.Page(program, tmp_path_factory.mktemp("profile"))
    yield page
    page.close()
