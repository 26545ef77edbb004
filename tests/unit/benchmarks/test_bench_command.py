"""`littlebig bench` with wrong options or without what it needs: one line and no figure."""

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from littlebig_cli import main
from littlebig_cli.bench import command
from littlebig_cli.measured import as_typed, labelled_pictures

REMEDY = "pip install perf-analyzer (glibc 2.38 or later), or name one with --perf-analyzer PATH"


@pytest.fixture
def analyzer(tmp_path):
    """A perf_analyzer that prints its version and fails at everything else."""
    path = tmp_path / "perf_analyzer"
    path.write_text('#!/bin/sh\ntest "$1" = --version && echo version 0\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def closed_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: reserved, and nothing answers
        yield taken.getsockname()[1]


def bench(*words):
    result = CliRunner().invoke(command, [str(word) for word in words])
    return result.exit_code, result.stdout, result.stderr


def test_missing_perf_analyzer_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert bench("--repository", tmp_path) == (1, "", f"littlebig: no perf_analyzer on PATH: {REMEDY}\n")


def test_server_that_does_not_answer_is_one_line(analyzer, closed_port):
    code, output, error = bench("--url", f"127.0.0.1:{closed_port}", "--perf-analyzer", analyzer)
    assert (code, output) == (1, "")
    assert error.startswith(f"littlebig: no Triton server answers gRPC at 127.0.0.1:{closed_port} (")
    assert error.endswith("): start one with 'littlebig serve', or leave out --url\n")
    assert error.count("\n") == 1


def test_name_of_a_certificate_is_refused_where_perf_analyzer_has_no_option(analyzer):
    words = ("--url", "gpu.example:8001", "--tls-name", "other", "--perf-analyzer", analyzer)
    assert bench(*words) == (
        1,
        "",
        "littlebig: perf_analyzer checks a certificate against the url alone: give a --url that is in the certificate "
        "instead of --tls-name, or measure --only front_door\n",
    )


@pytest.mark.parametrize("words", [("--token", "x"), ("--tls",), ("--compression", "gzip")], ids=" ".join)
def test_option_of_a_connection_without_url_is_wrong_usage(analyzer, words):
    code, _, error = bench(*words, "--perf-analyzer", analyzer)
    assert code == 2
    assert error.endswith(f"{words[0]} is for a running server: give its --url\n")


def test_report_shows_no_secret():
    words = ["bench", "--token", "abc", "--metadata=x=abc", "--metadata", "y=abc", "--url", "a:1"]
    assert as_typed(words) == "littlebig bench --token ... --metadata=... --metadata ... --url a:1"


def test_folder_that_is_no_repository_is_one_line(analyzer, tmp_path):
    assert bench("--repository", tmp_path, "--perf-analyzer", analyzer) == (
        1,
        "",
        f"littlebig: '{tmp_path}' has no model 'little': make a repository with 'littlebig export --output DIR'\n",
    )


def test_variant_that_is_no_gate_is_one_line(analyzer, tmp_path):
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
def test_fractions_are_between_0_and_1(option):
    code, _, error = bench(option, "1.5")
    assert code == 2
    assert "1.5 is not in the range 0<x<1" in error


def test_old_name_of_gate_concurrency_is_refused_in_one_line():
    assert bench("--gate-clients", 4) == (
        2,
        "",
        "littlebig: option --gate-clients no longer exists: use --gate-concurrency\n",
    )


def test_command_overload_names_its_replacement_in_one_line():
    result = CliRunner().invoke(main.littlebig, ["overload", "--latency-target", "600"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "littlebig: 'littlebig overload' no longer exists: use 'littlebig bench --only overload'\n"


def test_overload_alone_needs_no_perf_analyzer(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, error = bench("--only", "overload", "--repository", tmp_path)
    assert code == 1
    assert error.startswith(f"littlebig: '{tmp_path}' has no model 'little': make a repository with")


def test_labels_and_data_are_for_the_overload(tmp_path):
    (tmp_path / "labels.csv").write_text("file,label\n")
    code, _, error = bench("--labels", tmp_path / "labels.csv")
    assert code == 2
    assert "--labels needs --data, the folder of the images." in error
    code, _, error = bench("--data", tmp_path)
    assert code == 2
    assert "--data is for the overload alone: add --only overload." in error


def test_labelled_pictures_are_taken_evenly_from_all(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(4):
            (tmp_path / name / f"{number}.png").write_bytes(f"{name}{number}".encode())
    (tmp_path / "models" / "big").mkdir(parents=True)
    (tmp_path / "models" / "big" / "labels.txt").write_text("b\na\nc\n")
    pictures = labelled_pictures(tmp_path, None, 4, tmp_path / "models")
    assert pictures == ([b"a0", b"a2", b"b0", b"b2"], [1, 1, 0, 0])


def test_every_option_is_in_the_documentation():
    docs = (Path(__file__).parents[3] / "docs" / "benchmarks.md").read_text()
    assert [
        name for option in command.params if not option.hidden for name in option.opts if f"`{name}" not in docs
    ] == []


def test_reported_command_has_no_absolute_paths():
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
