"""`littlebig bench` on a repository whose big stage is on another server."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from tests.e2e.remote.conftest import serve, started, write_split
from tests.perf_analyzer import perf_analyzer

from littlebig_benchmarks import images
from littlebig_cli.bench import command


@pytest.mark.slow
def test_bench_measures_a_split_cascade(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "CANDIDATES", 40)
    with started(serve(exported / "big")) as (big,):
        split = write_split(exported, tmp_path / "models", big.grpc_url, threshold=0.9)
        words = ["--perf-analyzer", perf_analyzer(), "--repository", split, "--output", tmp_path / "report"]
        quick = ["--seconds", 0.3, "--rounds", 1, "--escalation", 0.35, "--concurrency", 4, "--max-other-load", 0.99]
        parts = ["--only", "throughput", "--only", "latency"]
        run = CliRunner().invoke(command, [str(word) for word in (*words, *quick, *parts)])
    assert run.exit_code == 0, run.output
    assert "* big is computed by the server localhost:1: its CPU time and memory are not counted." in run.stdout
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    assert {case["contender"] for case in content["throughput"]} == {
        *("little", "big", "little_big", "textbook", "classify")
    }
    for case in content["throughput"]:
        if case["contender"] == "little_big":
            assert case["rounds"][0]["escalation"] == pytest.approx(0.35, abs=0.15)
