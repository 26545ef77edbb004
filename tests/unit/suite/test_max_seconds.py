"""The option --max-seconds of this suite's conftest."""

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
CONFTEST = Path(__file__).parents[2] / "conftest.py"


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST.read_text())
    pytester.makeini("[pytest]\nmarkers = slow: takes long\n")
    pytester.makepyfile(
        """
        import threading
        import pytest

        def test_quick():
            pass

        def test_takes_long():
            threading.Event().wait(0.2)

        @pytest.mark.slow
        def test_marked_slow():
            threading.Event().wait(0.2)
        """
    )
    return pytester


def test_only_an_unmarked_test_over_the_limit_fails(suite: pytest.Pytester) -> None:
    result = suite.runpytest("--max-seconds=0.1", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*took 0 s of at most 0.1 s: make it faster, or mark it slow*"])


def test_without_the_option_no_test_is_limited(suite: pytest.Pytester) -> None:
    suite.runpytest("-p", "no:cacheprovider").assert_outcomes(passed=3)
