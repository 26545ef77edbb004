"""What `suite.run` does around the measurements."""

from pathlib import Path

import pytest

from littlebig_benchmarks import machine, perf_analyzer, suite
from littlebig_benchmarks.errors import RunFailed
from littlebig_benchmarks.rounds import Case
from littlebig_benchmarks.scenario import Scenario
from littlebig_benchmarks.suite import Subject


def test_reported_commit_is_that_of_the_start(monkeypatch):
    commits = iter(["measured", "made meanwhile"])
    monkeypatch.setattr(machine, "version", lambda: next(commits))
    monkeypatch.setattr(perf_analyzer, "version", lambda binary: "1.0")

    def gate_alone(subject, repository, scenario, results, report):
        assert results.machine["littlebig"] == "measured"
        results.machine["tritonserver"] = "2.51.0"

    monkeypatch.setattr(suite, "_gate_alone", gate_alone)
    subject = Subject(repository=Path("models"), endpoint=None, pictures=None, perf_analyzer="perf_analyzer")
    results = suite.run(subject, Scenario(parts=("gate",)), print)
    assert (results.machine["littlebig"], results.machine["tritonserver"]) == ("measured", "2.51.0")
    assert next(commits) == "made meanwhile"


def run_stopped_by(reason, monkeypatch, complete):
    """A measurement that ends while the gate alone is measured, after `complete` rounds."""
    monkeypatch.setattr(perf_analyzer, "version", lambda binary: "1.0")

    def gate_alone(subject, repository, scenario, results, report):
        results.gate.update({Case("little", 0.15, 32): [{"images_per_second": 1.0}] * complete} if complete else {})
        raise reason

    monkeypatch.setattr(suite, "_gate_alone", gate_alone)
    subject = Subject(repository=Path("models"), endpoint=None, pictures=None, perf_analyzer="perf_analyzer")
    return suite.run(subject, Scenario(parts=("gate",)), print)


@pytest.mark.parametrize("reason", [RunFailed("'big' has ended"), KeyboardInterrupt()])
def test_complete_rounds_survive_an_early_end(monkeypatch, reason):
    results = run_stopped_by(reason, monkeypatch, complete=3)
    assert results.stopped == (str(reason) or "interrupted")
    assert results.notes == [f"Stopped early: {results.stopped}. The tables are of the complete rounds: gate 3 of 5."]


def test_few_complete_rounds_get_a_note(monkeypatch):
    remark = "Fewer than 3 rounds say little about how stable the machine was."
    assert run_stopped_by(KeyboardInterrupt(), monkeypatch, complete=2).notes[-1] == remark
    assert remark not in run_stopped_by(KeyboardInterrupt(), monkeypatch, complete=3).notes


@pytest.mark.parametrize("reason", [RunFailed("'big' has ended"), KeyboardInterrupt()])
def test_end_before_the_first_complete_round_is_raised(monkeypatch, reason):
    with pytest.raises(type(reason)):
        run_stopped_by(reason, monkeypatch, complete=0)
