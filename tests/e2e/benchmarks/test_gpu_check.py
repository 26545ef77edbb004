"""The check for a machine with a GPU, on the CPU: everything but the device itself."""

import pytest
from experiments.gpu_check.__main__ import PAIRS, compare_decoders, main
from tests.tiny_pair import write_tiny_pair

from littlebig_export.pair import load_pair


@pytest.mark.slow
def test_the_check_reports_how_stages_differ_from_their_graphs_on_the_cpu(tmp_path, capsys):
    main(["--pair", str(write_tiny_pair(tmp_path)), "--target", "cpu", "--output", str(tmp_path / "out")])
    report = (tmp_path / "out/report.md").read_text()
    assert report in capsys.readouterr().out
    assert "| tritonserver | yes |" in report
    assert "## tiny, target cpu" in report
    for stage in ("little", "big"):
        assert f"- {stage}: same label on 100.0% of 16, confidence differs by at most " in report


def test_its_pairs_can_be_read():
    assert [load_pair(pair).name for pair in PAIRS] == ["efficientnet-lite", "lite0-deit3"]


@pytest.mark.slow
def test_answers_of_two_decoders_are_compared(tiny_repository):
    """Two servers with the same decoder: nvImageCodec is an extra."""
    assert compare_decoders({"one": tiny_repository, "other": tiny_repository.parent / tiny_repository.name}) == (
        "- one and other: same label on 100.0% of 200 JPEG files, same stage on 100.0%, confidence differs by at most 0"
    )
