"""What a run puts together around its measurements."""

from pathlib import Path

import pytest

from littlebig_benchmarks import machine, perf_analyzer, suite
from littlebig_benchmarks.errors import RunFailed
from littlebig_benchmarks.rounds import Case
from littlebig_benchmarks.scenario import Scenario
from littlebig_benchmarks.suite import Subject


def test_the_commit_is_that_of_the_beginning(monkeypatch):
    commits = iter(["measured", "made meanwhile"])
    monkeypatch.setattr(machine, "_commit", lambda: next(commits))
    monkeypatch.setattr(perf_analyzer, "version", lambda binary: "1.0")

    def gate_alone(subject, repository, scenario, results, tell):
        assert results.machine["littlebig"] == "measured"
        results.machine["tritonserver"] = "2.51.0"

    monkeypatch.setattr(suite, "_gate_alone", gate_alone)
    subject = Subject(repository=Path("models"), url=None, pictures=None, perf_analyzer="perf_analyzer")
    results = suite.run(subject, Scenario(parts=("gate",)), print)
    assert (results.machine["littlebig"], results.machine["tritonserver"]) == ("measured", "2.51.0")
    assert next(commits) == "made meanwhile"


def run_stopped_by(reason, monkeypatch, complete):
    """A measurement that is over while the gate alone is measured, after so many complete rounds of it."""
    monkeypatch.setattr(perf_analyzer, "version", lambda binary: "1.0")

    def gate_alone(subject, repository, scenario, results, tell):
        results.gate.update({Case("little", 0.15, 32): [{"images_per_second": 1.0}] * complete} if complete else {})
        raise reason

    monkeypatch.setattr(suite, "_gate_alone", gate_alone)
    subject = Subject(repository=Path("models"), url=None, pictures=None, perf_analyzer="perf_analyzer")
    return suite.run(subject, Scenario(parts=("gate",)), print)


@pytest.mark.parametrize("reason", [RunFailed("'big' is gone"), KeyboardInterrupt()])
def test_complete_rounds_outlive_what_ends_the_measurement(monkeypatch, reason):
    results = run_stopped_by(reason, monkeypatch, complete=3)
    assert results.stopped == (str(reason) or "interrupted")
    assert results.notes == [
        f"Stopped early: {results.stopped}. Complete rounds, which the tables are of: gate 3 of 5."
    ]


def test_few_complete_rounds_are_told_to_be_few(monkeypatch):
    remark = "Fewer than 3 rounds say little about how stable the machine was."
    assert run_stopped_by(KeyboardInterrupt(), monkeypatch, complete=2).notes[-1] == remark
    assert remark not in run_stopped_by(KeyboardInterrupt(), monkeypatch, complete=3).notes


@pytest.mark.parametrize("reason", [RunFailed("'big' is gone"), KeyboardInterrupt()])
def test_what_ends_it_before_the_first_round_is_complete_is_raised(monkeypatch, reason):
    with pytest.raises(type(reason)):
        run_stopped_by(reason, monkeypatch, complete=0)
