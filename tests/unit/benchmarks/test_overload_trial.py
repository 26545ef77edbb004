from pathlib import Path

import pytest
from click.testing import CliRunner

from littlebig_benchmarks.load import Reply
from littlebig_benchmarks.overload import Outcome, Trial, as_markdown, least_target_ms, phase
from littlebig_cli.overload import _pictures, command

# Ten a second: big, little, spared, rejected, lost.
REPLIES = [
    Reply(0, 0.0, 100.0, label=7, stage=1),
    Reply(1, 0.1, 20.0, label=3, stage=0),
    Reply(0, 0.2, 30.0, label=8, stage=3),
    Reply(1, 0.3, 5.0, error="Request timeout expired"),
    Reply(1, 0.4, 60_000.0, error="Deadline Exceeded", lost=True),
]


def test_every_request_is_answered_rejected_or_lost():
    found = phase(REPLIES, labels=None)
    assert (found.sent, found.answered, found.rejected, found.lost) == (5, 3, {"Request timeout expired": 1}, 1)
    assert found.offered == pytest.approx(10)
    assert (found.escalated, found.spared) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert found.p50_ms == 30.0
    assert found.accuracy is None


def test_accuracy_is_that_of_the_answered():
    assert phase(REPLIES, labels=[7, 3]).accuracy == pytest.approx(2 / 3)


def test_the_table_says_what_was_rejected_and_why():
    one = phase(REPLIES, labels=[7, 3])
    outcome = Outcome({"cores": "2"}, 80.0, 106.0, 600.0, 600.0, one, one, one, one)
    table = as_markdown(outcome, Trial(), "littlebig overload")
    assert "The gate answers 80.0 images/s at most (16 clients), 106.0 where little answers all." in table
    assert "leaves no room" not in table
    row = next(line for line in table.splitlines() if line.startswith("| 1.5 times the most"))
    assert row.split(" | ")[1:] == ["10", "5", "3", "1", "1", "33.3%", "33.3%", "30", "99", "0.16", "0.667 |"]
    assert "* rejected, 1 times: Request timeout expired" in table
    assert "* cores: 2" in table


def test_a_target_leaves_room_for_full_batches_after_half_of_it_went_by_in_the_queue():
    assert least_target_ms(64, 80.0) == 1600.0
    assert least_target_ms(64, 1000.0) == 200.0  # rounded up from 128


def test_a_target_without_room_for_a_batch_is_told():
    one = phase(REPLIES, labels=None)
    table = as_markdown(Outcome({}, 80.0, 80.0, 600.0, 1600.0, one, one, one, one), Trial(600.0), "")
    assert "This target leaves no room for full batches" in table
    assert "the shortest that does is 1600 ms." in table


def test_a_phase_in_which_nothing_was_answered_has_no_share():
    table = as_markdown(Outcome({}, 1.0, 1.0, 600.0, 600.0, *[phase(REPLIES[3:], None)] * 4), Trial(), "")
    assert "| 2 | 0 | 1 | 1 | nan% | nan% | nan | nan | nan |" in table


def test_images_are_taken_evenly_from_all(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(4):
            (tmp_path / name / f"{number}.png").write_bytes(f"{name}{number}".encode())
    assert _pictures(tmp_path, None, 4, seed=0) == ([b"a0", b"a2", b"b0", b"b2"], [0, 0, 1, 1])


def test_labels_without_images_are_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("file,label\n")
    result = CliRunner().invoke(command, ["--labels", str(tmp_path / "labels.csv")])
    assert result.exit_code == 2
    assert "--labels needs --data, the folder of the images." in result.stderr


def test_a_folder_that_is_no_repository(tmp_path):
    result = CliRunner().invoke(command, ["--repository", str(tmp_path), "--pictures", "1"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"littlebig: '{tmp_path}' has no model 'little': make a repository with 'littlebig export --output DIR'\n"
    )


def test_every_option_is_in_the_docs():
    docs = (Path(__file__).parents[3] / "docs" / "benchmarks.md").read_text()
    assert [name for option in command.params for name in option.opts if f"`{name}" not in docs] == []
