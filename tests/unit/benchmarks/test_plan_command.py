"""`littlebig plan` without a server: its table, its JSON, and its refusals."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.planning import curve, curves

from littlebig_benchmarks.planning.curves import write_curves
from littlebig_cli.plan import command

MS = 1e-3
TARGET = ("--rate", 2000, "--escalation", 0.15, "--target-p99", 40)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "curves.json"
    write_curves(path, curves(curve(1.5 * MS, 0.3 * MS), curve(4 * MS, 1.2 * MS), gate=0.2 * MS, capacity=1.2))
    return path


def plan(*words):
    result = CliRunner().invoke(command, ["--pair", "made-up", *map(str, words)])
    return result.exit_code, result.stdout, result.stderr


def test_a_table_of_the_cascade_and_of_big_alone_and_what_was_assumed(path):
    code, output, error = plan("--curves", path, *TARGET, "--simulated", 2000)
    assert (code, error) == (0, "plan cascade\nplan big\n")
    lines = output.splitlines()
    assert lines[0] == "# made-up: 2000 images/s, 15.0% escalated, p99 of 40 ms"
    assert lines[2] == "|  | GPUs | instances | queue delay ms | p50 ms | p99 ms | device busy |"
    assert [line.split(" | ")[0] for line in lines[4:6]] == ["| cascade", "| big alone"]
    cascade, big = (int(line.split(" | ")[1]) for line in lines[4:6])
    assert f"Big alone needs {big / cascade:.2f} times the GPUs of the cascade." in lines
    assert (
        "* Stage times were measured on a device of no kind (1 of little and 1 of big at a time) (never); nothing is said "
        "of any other device. One replica is one GPU." in lines
    )


def test_the_same_plan_as_json(path):
    code, output, _ = plan("--curves", path, *TARGET, "--simulated", 2000, "--format", "json")
    found = json.loads(output)
    assert code == 0
    assert found["target"] == {
        "images_per_second": 2000.0,
        "escalation": 0.15,
        "p99_ms": 40.0,
        "balancing": "random",
        "burst": 1.0,
        "burst_seconds": 1.0,
    }
    assert found["device"] == {"kind": "gpu", "name": "a device of no kind", "capacity": 1.2}
    assert set(found["plans"]) == {"cascade", "big"}
    for entry, stages in (("cascade", {"little", "big"}), ("big", {"big"})):
        one = found["plans"][entry]
        assert set(one["max_queue_delay_ms"]) == stages
        assert set(one["instances"]) - {"gate"} == stages
        assert ("gate" in one["instances"]) == (entry == "cascade")
        assert 0 < one["p50_ms"] < one["p99_ms"] <= 40
        assert 0 < one["device_busy"] <= 1
    ratio = found["plans"]["big"]["replicas"] / found["plans"]["cascade"]["replicas"]
    assert found["replicas_of_big_alone_per_replica_of_the_cascade"] == ratio
    assert "validation" not in found


def test_the_same_words_give_the_same_output(path):
    words = ("--curves", path, *TARGET, "--simulated", 2000, "--format", "json")
    assert plan(*words)[1] == plan(*words)[1]


def test_a_machine_without_a_gpu_is_not_called_one(tmp_path):
    path = tmp_path / "curves.json"
    write_curves(path, curves(curve(1.5 * MS), curve(4 * MS), kind="cpu", capacity=2.0))
    _, output, _ = plan("--curves", path, *TARGET, "--simulated", 1000)
    assert "GPU" not in output
    assert output.splitlines()[2].startswith("|  | machines |")


def test_where_the_cascade_is_too_slow_its_line_says_so(path):
    words = ("--rate", 20, "--escalation", 0.15, "--target-p99", 5, "--simulated", 1000)
    code, output, _ = plan("--curves", path, *words)
    assert code == 0
    assert "| cascade | none |  |  |  |  |  |" in output.splitlines()
    assert "* cascade: no number of replicas keeps a p99 of 5 ms, because an image that meets no other takes" in output


def test_every_option_is_in_the_documentation():
    text = (Path(__file__).parents[3] / "docs" / "planning.md").read_text(encoding="utf-8")
    table = text[text.index("## Options") :]
    for option in command.params:
        assert f"`{option.opts[0]}`" in table


def test_no_curves(tmp_path):
    path = tmp_path / "none.json"
    assert plan("--curves", path, *TARGET) == (
        1,
        "",
        f"littlebig: no stage curves at '{path}': measure them on the machine that will serve, with 'littlebig plan "
        "--measure --pair made-up --repository DIR' or '--url HOST:PORT'\n",
    )


def test_an_unreachable_target_is_one_line(path):
    code, output, error = plan("--curves", path, "--rate", 20, "--escalation", 0.15, "--target-p99", 1)
    assert (code, output) == (1, "")
    assert error.splitlines()[-1].startswith("littlebig: cascade: no number of replicas keeps a p99 of 1 ms, because")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give --rate, --escalation and --target-p99 for a plan, or --measure, or --validate"),
        (("--rate", 5), "a plan needs all of --rate, --escalation and --target-p99"),
        (("--rate", 5, "--escalation", 0.1), "a plan needs all of --rate, --escalation and --target-p99"),
        (("--validate", "--url", "x:1"), "--validate needs --escalation, such as 0.15"),
        (("--measure",), "--measure and --validate need a server: give either --repository DIR or --url HOST:PORT"),
        (("--measure", "--url", "x:1"), "--url needs --device NAME: a server does not tell what its stages run on"),
    ],
)
def test_words_that_do_not_make_a_plan(words, message):
    code, output, error = plan(*words)
    assert (code, output) == (2, "")
    assert error.splitlines()[-1] == f"Error: {message}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rate", 0), "a rate of 0 images/s cannot be planned for: give one above 0"),
        (("--escalation", 2), "escalation 2 cannot be: choose a fraction from 0 to 1, such as 0.15"),
        (("--target-p99", -1), "a p99 of -1 ms cannot be a target: give milliseconds above 0"),
        (("--burst", 0.5), "bursts of 0.5 times the mean rate cannot be: they take 10% of the time, so give a factor "
                           "from 1 to below 10"),
    ],
)  # fmt: skip
def test_values_that_cannot_be(path, words, message):
    assert plan("--curves", path, *TARGET, *words) == (1, "", f"littlebig: {message}\n")


def test_a_repository_of_another_pair_is_not_measured_under_a_wrong_name(tmp_path):
    (tmp_path / "littlebig.json").write_text('{"pair": {"name": "tiny"}}')
    assert plan("--measure", "--repository", tmp_path) == (
        1,
        "",
        f"littlebig: '{tmp_path}' is of the pair 'tiny', not 'made-up': give --pair tiny, or another repository\n",
    )


def test_a_folder_that_is_no_repository(tmp_path):
    assert plan("--measure", "--repository", tmp_path) == (
        1,
        "",
        f"littlebig: '{tmp_path}' has no readable littlebig.json: make a repository with 'littlebig export --output DIR'\n",
    )
