"""`littlebig plan` without a server: its table, its JSON, and its refusals."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.planning import curve, curves

from littlebig_benchmarks.planning.curves import write_curves
from littlebig_cli.plan import command

MS = 1e-3
ROOT = Path(__file__).parents[3]
TARGET = ("--rate", 2000, "--escalation", 0.15)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "curves.json"
    write_curves(path, curves(curve(2 * MS, 2 * MS), curve(20 * MS, 20 * MS), instances=2))
    return path


def plan(*words):
    result = CliRunner().invoke(command, ["--pair", "made-up", *map(str, words)])
    return result.exit_code, result.stdout, result.stderr


def test_table_has_the_cascade_and_big_alone_and_the_cost_ratio(path):
    code, output, error = plan("--curves", path, *TARGET)
    assert (code, error) == (0, "")
    assert output.splitlines()[:8] == [
        "# made-up: 2000 images/s, 15.0% escalated, utilisation at most 70%",
        "",
        "|  | GPUs | images/s per GPU | limited by | utilisation |",
        "| --- | --- | --- | --- | --- |",
        "| cascade | 15 | 200 | the device | 67% |",
        "| big alone | 58 | 50 | the device | 69% |",
        "",
        "Big alone needs 3.87 times the GPUs of the cascade.",
    ]
    assert "* Latency is not planned. Measure it on the device: littlebig bench --only rates." in output
    assert "* Measured on a device of no kind (2 of little and 2 of big), never; the plan holds for this" in output


def test_utilisation_changes_the_number_of_replicas(path):
    output = plan("--curves", path, *TARGET, "--utilisation", 1)[1]
    assert "| cascade | 10 | 200 | the device | 100% |" in output


def test_json_has_the_plan_in_numbers(path):
    content = json.loads(plan("--curves", path, *TARGET, "--format", "json")[1])
    assert content["target"] == {"images_per_second": 2000.0, "escalation": 0.15, "utilisation": 0.7}
    assert content["device"] == {"kind": "gpu", "name": "a device of no kind", "capacity": 1.0}
    assert content["plans"]["cascade"] == {
        "replicas": 15,
        "images_per_second_per_replica": pytest.approx(200),
        "limit": "device",
        "utilisation": pytest.approx(2 / 3),
    }
    assert content["cost_ratio"] == pytest.approx(58 / 15)


def test_replica_without_a_gpu_is_called_a_machine(tmp_path):
    path = tmp_path / "curves.json"
    write_curves(path, curves(curve(1.5 * MS), curve(4 * MS), kind="cpu", capacity=2.0))
    output = plan("--curves", path, *TARGET)[1]
    assert "GPU" not in output
    assert "|  | machines | images/s per machine | limited by | utilisation |" in output


def test_committed_curves_give_the_table_of_the_documentation():
    text = (ROOT / "docs" / "planning.md").read_text(encoding="utf-8")
    table = [line.removeprefix("> ") for line in text.splitlines() if line.startswith("> |")]
    curves = ROOT / "benchmarks/results/lite0-deit3-h200-pytorch/curves.json"
    pair = json.loads(curves.read_text())["pair"]
    words = ["--pair", pair, "--curves", str(curves), "--rate", "20000", "--escalation", "0.15"]
    output = CliRunner().invoke(command, words).stdout
    assert [line for line in output.splitlines() if line.startswith("|")] == table


def test_every_option_is_in_the_documentation():
    text = (ROOT / "docs" / "planning.md").read_text(encoding="utf-8")
    table = text[text.index("## Options") :]
    for option in command.params:
        if not option.hidden:
            assert f"`{option.opts[0]}`" in table


def test_missing_curves_are_one_line(tmp_path):
    path = tmp_path / "none.json"
    assert plan("--curves", path, *TARGET) == (
        1,
        "",
        f"littlebig: no stage curves at '{path}': measure them on the machine that will serve, with 'littlebig plan "
        "--measure --pair made-up --repository DIR' or '--url HOST:PORT'\n",
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give --rate and --escalation for a plan, or --measure"),
        (("--rate", 5), "--rate needs --escalation, such as 0.15"),
        (("--measure",), "--measure needs a server: give either --repository DIR or --url HOST:PORT"),
        (("--measure", "--url", "x:1"), "--url needs --device NAME: a server does not report what its stages run on"),
    ],
)
def test_incomplete_options_are_refused(words, message):
    code, output, error = plan(*words)
    assert (code, output) == (2, "")
    assert error.splitlines()[-1] == f"Error: {message}"


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (("--target-p99", 50), "plan with --utilisation; latency is measured, with 'littlebig bench --only rates'"),
        (("--validate",), "latency is measured, with 'littlebig bench --only rates' on the device"),
        (("--balancing", "random"), "plan no longer simulates; leave headroom with --utilisation;"),
        (("--burst", 2), "plan no longer simulates; leave headroom with --utilisation;"),
        (("--burst-seconds", 2), "plan no longer simulates; leave headroom with --utilisation;"),
        (("--simulated", 2000), "plan no longer simulates; leave headroom with --utilisation;"),
    ],
)
def test_removed_options_name_their_replacement_in_one_line(words, remedy):
    code, output, error = plan(*TARGET, *words)
    assert (code, output) == (2, "")
    assert error.startswith(f"littlebig: option {words[0]} no longer exists: {remedy}")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rate", 0), "a rate of 0 images/s cannot be planned for: give one above 0"),
        (("--escalation", 2), "escalation 2 is no fraction: give one from 0 to 1, such as 0.15"),
        (("--utilisation", 0), "utilisation 0 is no fraction: give one above 0 and up to 1"),
    ],
)
def test_values_out_of_range_are_one_line(path, words, message):
    assert plan("--curves", path, *TARGET, *words) == (1, "", f"littlebig: {message}\n")


def test_repository_of_another_pair_is_refused(tmp_path):
    (tmp_path / "littlebig.json").write_text('{"pair": {"name": "tiny"}}')
    assert plan("--measure", "--repository", tmp_path) == (
        1,
        "",
        f"littlebig: '{tmp_path}' is of the pair 'tiny', not 'made-up': give --pair tiny, or another repository\n",
    )


def test_folder_that_is_no_repository_is_refused(tmp_path):
    assert plan("--measure", "--repository", tmp_path) == (
        1,
        "",
        f"littlebig: '{tmp_path}' is not a model repository of Little-Big (no littlebig.json): make one with "
        "'littlebig export --output DIR'\n",
    )
