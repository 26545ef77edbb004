"""What a run puts together around its measurements."""

from pathlib import Path

from littlebig_benchmarks import machine, perf_analyzer, suite
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
