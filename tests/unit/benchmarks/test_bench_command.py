"""`littlebig bench` where it cannot measure: one line, no figure."""

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from littlebig_cli.bench import command
from littlebig_cli.measured import as_typed

REMEDY = "pip install perf-analyzer (glibc 2.38 or later), or name one with --perf-analyzer PATH"


@pytest.fixture
def analyzer(tmp_path):
    """A perf_analyzer that says its version and fails at everything else."""
    path = tmp_path / "perf_analyzer"
    path.write_text('#!/bin/sh\ntest "$1" = --version && echo version 0\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: nobody else gets it, and nothing answers
        yield taken.getsockname()[1]


def bench(*words):
    result = CliRunner().invoke(command, [str(word) for word in words])
    return result.exit_code, result.stdout, result.stderr


def test_without_perf_analyzer(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bench("--repository", tmp_path) == (1, "", f"littlebig: no perf_analyzer on PATH: {REMEDY}\n")


def test_a_server_that_does_not_answer(analyzer, closed_port):
    code, output, error = bench("--url", f"127.0.0.1:{closed_port}", "--perf-analyzer", analyzer)
    assert (code, output) == (1, "")
    assert error.startswith(f"littlebig: no Triton server answers gRPC at 127.0.0.1:{closed_port} (")
    assert error.endswith("): start one with 'littlebig serve', or leave out --url\n")
    assert error.count("\n") == 1


def test_a_folder_that_is_no_repository(analyzer, tmp_path):
    assert bench("--repository", tmp_path, "--perf-analyzer", analyzer) == (
        1,
        "",
        f"littlebig: '{tmp_path}' has no model 'little': make a repository with 'littlebig export --output DIR'\n",
    )


def test_a_variant_that_is_no_gate(analyzer, tmp_path):
    assert bench("--variant", f"mine={tmp_path}", "--perf-analyzer", analyzer) == (
        1,
        "",
        f"littlebig: variant 'mine': '{tmp_path}' has no config.pbtxt and 1/model.py; give a gate's folder\n",
    )
    assert bench("--variant", f"little={tmp_path}", "--perf-analyzer", analyzer)[2] == (
        "littlebig: a variant cannot be called 'little': choose letters, digits and _, not a model's name\n"
    )
    assert "'mine' is not NAME=DIR" in bench("--variant", "mine")[2]


@pytest.mark.parametrize("option", ["--escalation", "--max-other-load"])
def test_a_share_is_between_0_and_1(option):
    code, _, error = bench(option, "1.5")
    assert code == 2
    assert "1.5 is not in the range 0<x<1" in error


def test_every_option_is_in_the_docs():
    docs = (Path(__file__).parents[3] / "docs" / "benchmarks.md").read_text()
    assert [name for option in command.params for name in option.opts if f"`{name}" not in docs] == []


def test_the_command_is_told_without_the_machine_s_own_paths():
    words = [
        "bench",
        "--variant",
        "mine=/home/me/gate",
        "--perf-analyzer",
        "/opt/bin/perf_analyzer",
        "--output",
        "out/a b",
    ]
    assert as_typed(words) == ("littlebig bench --variant mine=gate --perf-analyzer perf_analyzer --output 'out/a b'")
