"""The outcome of an overload, from replies to the report's section."""

import pytest

from littlebig_benchmarks.load import Reply
from littlebig_benchmarks.overload import Outcome, Trial, as_markdown, phase, shortest_target_ms

# Ten a second: big, little, shed, rejected, lost.
REPLIES = [
    Reply(0, 0.0, 100.0, label=7, stage=1),
    Reply(1, 0.1, 20.0, label=3, stage=0),
    Reply(0, 0.2, 30.0, label=8, stage=3),
    Reply(1, 0.3, 5.0, error="Request timeout expired"),
    Reply(1, 0.4, 60_000.0, error="Deadline Exceeded", lost=True),
]


def test_every_request_is_answered_rejected_or_lost():
    result = phase(REPLIES, labels=None)
    assert (result.sent, result.answered, result.rejected, result.lost) == (5, 3, {"Request timeout expired": 1}, 1)
    assert result.request_rate == pytest.approx(10)
    assert (result.escalated, result.shed) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert result.p50_ms == 30.0
    assert result.accuracy is None


def test_accuracy_is_that_of_the_answered():
    assert phase(REPLIES, labels=[7, 3]).accuracy == pytest.approx(2 / 3)


def test_table_has_counts_and_reasons_of_rejection():
    part = phase(REPLIES, labels=[7, 3])
    table = as_markdown(Outcome("2.51.0", 80.0, 106.0, 600.0, 600.0, part, part, part, part), Trial())
    assert "The gate answers 80.0 images/s (concurrency 16), 106.0 where little answers all." in table
    assert "too short" not in table
    row = next(line for line in table.splitlines() if line.startswith("| 1.5 times the throughput, 60 s"))
    assert row.split(" | ")[1:] == ["10", "5", "3", "1", "1", "33.3%", "33.3%", "30", "99", "0.16", "0.667 |"]
    assert "* rejected, 1 times: Request timeout expired" in table


def test_shortest_target_is_twice_the_time_of_full_batches():
    assert shortest_target_ms(64, 80.0) == 1600.0
    assert shortest_target_ms(64, 1000.0) == 200.0  # rounded up from 128


def test_target_that_is_too_short_for_full_batches_gets_a_note():
    part = phase(REPLIES, labels=None)
    table = as_markdown(Outcome("2.51.0", 80.0, 80.0, 600.0, 1600.0, part, part, part, part), Trial(600.0))
    assert (
        "* This target is too short for full batches of all the gate's instances here: give at least 1600 ms" in table
    )


def test_phase_without_answers_has_no_fractions():
    table = as_markdown(Outcome("2.51.0", 1.0, 1.0, 600.0, 600.0, *[phase(REPLIES[3:], None)] * 4), Trial())
    assert "| 2 | 0 | 1 | 1 | nan% | nan% | nan | nan | nan |" in table
