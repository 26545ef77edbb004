"""`littlebig bench` on a pair of tiny models: that it measures what it says, not how fast they are."""

import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from tests.perf_analyzer import perf_analyzer

from littlebig_benchmarks import front_door, images, load
from littlebig_benchmarks.baselines.onnxruntime_cascade import Layout
from littlebig_benchmarks.errors import ImagesError
from littlebig_benchmarks.measuring import Bench
from littlebig_benchmarks.rounds import Case
from littlebig_benchmarks.scenario import Scenario
from littlebig_benchmarks.serving import inspect, serving, serving_stages_that_do_nothing
from littlebig_cli.bench import command


@pytest.fixture(scope="module")
def served(mixed_repository, tmp_path_factory):
    variants = {"copy": mixed_repository / "little_big"}
    with serving(mixed_repository, variants, tmp_path_factory.mktemp("served"), None) as running:
        yield running


@pytest.fixture(scope="module")
def pictures(served):
    return images.look_through(served, images.crops(images.photographs(None), 40, seed=0))


def bench(*words):
    return subprocess.run(
        [sys.executable, "-m", "littlebig_cli", "bench", *map(str, words)], capture_output=True, text=True, check=False
    )


def test_textbook_gate_and_variants_are_served_beside_the_pair(served):
    assert served.models == ("big", "classify", "copy", "little", "little_big", "preprocess", "textbook")
    assert (served.threshold, served.shape) == (0.9, (32, 32, 3))
    assert inspect(served.endpoint).threshold == served.threshold


def test_unreadable_picture_is_named_by_its_number(served):
    good = images.crops(images.photographs(None), 1, seed=0)
    with pytest.raises(ImagesError, match=r"^picture 2 of 2 cannot be used: .*; leave it out$"):
        images.look_through(served, [*good, b"no picture"])


@pytest.mark.parametrize("model", ["little_big", "textbook", "copy"])
@pytest.mark.parametrize("how", [{"concurrency": 4}, {"request_rate": 100.0}], ids=["concurrency", "rate"])
def test_every_gate_escalates_exactly_the_unsure_images(served, pictures, model, how):
    mix = images.mix(pictures, 0.35, 4, seed=0)
    answers = load.run(served.endpoint, load.Load(model, seconds=30.0, requests=len(mix.order), **how), pictures, mix)
    assert answers.images == len(mix.order)
    assert answers.measures()["escalation"] == pytest.approx(0.35)
    assert len(answers.unsure_ms) == mix.unsure.sum()


def test_load_ends_when_its_time_is_over(served, pictures):
    mix = images.mix(pictures, 0.35, 4, seed=0)
    answers = load.run(served.endpoint, load.Load("little", seconds=0.3, concurrency=4), pictures, mix)
    assert 0 < answers.images < 100_000
    assert answers.stages == {}


def test_sure_and_unsure_images_are_timed_separately(served, pictures, tmp_path):
    measured = Bench(served, pictures, None, tmp_path, seconds=0.3, seed=0)
    measures = measured.run(Case("little_big", 0.35, 4, own_load=True))
    assert measures["sure_p50_ms"] > 0
    assert measures["unsure_p50_ms"] > 0
    assert 0 <= measures["other_load"] <= 1


def test_front_door_takes_small_and_large_files(served, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(front_door, "_SIDE", 1200)
    small = Bench(served, pictures, None, tmp_path, seconds=0.3, seed=0)
    door = front_door.FrontDoor(small)
    for case in front_door.cases(Scenario(escalations=(0.35,), concurrency=(4,))):
        measures = door.run(case)
        assert measures["images"] > 0
        assert measures["escalation"] == pytest.approx(0.35, abs=0.2)
        assert measures["p50_ms"] > 0
        if case.contender != "little_big":
            assert measures["cpu_ms_per_image_preprocess"] > 0


@pytest.mark.slow
def test_perf_analyzer_that_hangs_once_is_run_again(served, pictures, tmp_path, monkeypatch):
    first, script = tmp_path / "first", tmp_path / "perf_analyzer"
    script.write_text(
        f'#!/bin/sh\ntest -e {first} || {{ touch {first}; exec sleep 300; }}\nexec {perf_analyzer()} "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr("littlebig_benchmarks.perf_analyzer.MAX_WAIT_S", 10.0)
    measured = Bench(served, pictures, str(script), tmp_path, seconds=0.3, seed=0)
    assert measured.run(Case("little_big", 0.35, 4))["images"] >= 40
    assert first.exists()


@pytest.mark.slow
@pytest.mark.serial
def test_cpu_time_before_the_load_is_not_counted(served, pictures, tmp_path):
    script = tmp_path / "perf_analyzer"
    turn = f'rm -f {tmp_path / "profile_export.json"}; {perf_analyzer()} "$@"'
    script.write_text(f"#!/bin/sh\n{turn}; {turn}; {turn}; {turn}\n")  # all the server's work but the last is before
    script.chmod(0o755)

    def cpu(binary):
        measured = Bench(served, pictures, str(binary), tmp_path, seconds=1.0, seed=0).run(Case("little_big", 0.35, 4))
        return sum(value for name, value in measured.items() if name.startswith("cpu_ms_per_image_"))

    once, after_others = cpu(perf_analyzer()), cpu(script)
    assert 0 < after_others < 2 * once


def test_cascade_in_one_process_escalates_the_same_images(served, pictures, tmp_path):
    measured = Bench(served, pictures, None, tmp_path, seconds=0.2, seed=0, layout=Layout(2, 1))
    assert measured.run(Case("in_process", 0.35, 4))["escalation"] == pytest.approx(0.35, abs=0.05)


def test_stages_that_do_nothing_take_their_confidence_from_the_first_byte(mixed_repository, tmp_path):
    with serving_stages_that_do_nothing(mixed_repository, {}, tmp_path, None) as served:
        assert (served.models, served.shape) == (("big", "little", "little_big", "textbook"), (260, 260, 3))
        pictures = images.for_stages_that_do_nothing(20, 0.15, served.shape, seed=0)
        mix = images.mix(pictures, 0.15, 4, seed=0)
        for model in ("little_big", "textbook"):
            answers = load.run(served.endpoint, load.Load(model, 30.0, 4, requests=len(mix.order)), pictures, mix)
            assert answers.measures()["escalation"] == pytest.approx(0.15)


@pytest.mark.slow
@pytest.mark.serial
def test_all_default_parts_are_measured_and_written(mixed_repository, tmp_path):
    output = tmp_path / "report"
    words = ["--perf-analyzer", perf_analyzer(), "--repository", mixed_repository, "--output", output, "--rounds", 1]
    quick = ["--seconds", 0.3, "--escalation", 0.35, "--concurrency", 4, "--gate-concurrency", 4]
    lenient = ["--max-spread", 50, "--max-other-load", 0.99, "--variant", f"copy={mixed_repository / 'little_big'}"]
    run = bench(*words, *quick, *lenient)
    assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in output.iterdir()) == [
        "front-door.svg",
        "gate-alone.svg",
        "latency.svg",
        "report.json",
        "report.md",
        "request-rate.svg",
        "throughput.svg",
    ]
    assert run.stdout == (output / "report.md").read_text() + "\n"
    content = json.loads((output / "report.json").read_text())
    assert {case["contender"] for case in content["throughput"]} == {
        *("little", "big", "little_big", "copy", "textbook", "classify", "in_process"),
    }
    for case in content["throughput"]:
        assert len(case["rounds"]) == 1
        if case["contender"] not in ("little", "big"):
            assert np.mean([run["escalation"] for run in case["rounds"]]) == pytest.approx(0.35, abs=0.15)
    assert all("cpu_ms_per_image_textbook" in run for run in content["gate"][-1]["rounds"])
    assert str(mixed_repository) not in run.stdout


@pytest.mark.slow
def test_server_elsewhere_is_measured_without_what_needs_its_processes(served, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "CANDIDATES", 40)
    # perf_analyzer hangs now and then on a busy machine, and is then started once more.
    monkeypatch.setattr("littlebig_benchmarks.perf_analyzer.MAX_WAIT_S", 15.0)
    words = ["--perf-analyzer", perf_analyzer(), "--url", served.url, "--output", tmp_path, "--rounds", 1]
    quick = ["--seconds", 0.3, "--escalation", 0.35, "--concurrency", 4, "--max-other-load", 0.99]
    run = CliRunner().invoke(
        command, [str(word) for word in (*words, *quick, "--only", "throughput", "--only", "gate")]
    )
    assert run.exit_code == 0, run.output
    assert "* The gate alone was not measured: it needs a server of its own, so --repository." in run.stdout
    assert "* The in-process cascade was not measured: it needs the ONNX graphs of --repository." in run.stdout
    content = json.loads((tmp_path / "report.json").read_text())
    assert {case["contender"] for case in content["throughput"]} == {
        *("little", "big", "little_big", "textbook", "classify")
    }
    assert not any("cpu" in name for case in content["throughput"] for run in case["rounds"] for name in run)


@pytest.mark.slow
def test_sigterm_leaves_a_report_of_the_complete_rounds(mixed_repository, tmp_path):
    output = tmp_path / "report"
    words = ["--perf-analyzer", perf_analyzer(), "--repository", mixed_repository, "--output", output, "--only", "gate"]
    quick = ["--seconds", 0.3, "--gate-concurrency", 4, "--rounds", 500, "--max-spread", 50, "--max-other-load", 0.99]
    command = [sys.executable, "-m", "littlebig_cli", "bench", *map(str, [*words, *quick])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as measuring:
        lines = []
        for line in measuring.stderr:
            lines.append(line)
            if "round 2/500" in line:
                measuring.send_signal(signal.SIGTERM)
                break
        lines += measuring.stderr.readlines()
        table = measuring.stdout.read()
    assert measuring.returncode == 1, lines
    assert lines[-1] == f"littlebig: stopped early, {output} has the complete rounds: interrupted\n"
    assert "At most 500 rounds, contenders in turns." in table
    assert "Stopped early: interrupted. The tables are of the complete rounds: gate 1 of 500." in table
    content = json.loads((output / "report.json").read_text())
    assert content["stopped"] == "interrupted"
    assert {len(case["rounds"]) for case in content["gate"]} == {1}
    assert (output / "gate-alone.svg").exists()


@pytest.mark.slow
@pytest.mark.serial
def test_gate_that_fails_gives_no_figure(mixed_repository, tmp_path):
    broken = shutil.copytree(mixed_repository / "little_big", tmp_path / "broken")
    (broken / "1" / "model.py").write_text(
        "import triton_python_backend_utils as pb_utils\n"
        "class TritonPythonModel:\n"
        "    def execute(self, requests):\n"
        "        return [pb_utils.InferenceResponse(error=pb_utils.TritonError('out of order')) for _ in requests]\n"
    )
    words = ["--perf-analyzer", perf_analyzer(), "--repository", mixed_repository, "--output", tmp_path / "report"]
    run = bench(*words, "--only", "gate", "--seconds", 0.3, "--rounds", 1, "--variant", f"broken={broken}")
    assert run.returncode == 1
    last = run.stderr.splitlines()[-1]
    assert last.startswith("littlebig: perf_analyzer on 'broken' failed: ")
    assert "out of order" in last
    assert not (tmp_path / "report").exists()
