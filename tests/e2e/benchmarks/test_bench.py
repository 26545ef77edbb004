"""`littlebig bench` on a pair of tiny models: that it measures what it says, not how fast anything is."""

import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from tests.perf_analyzer import perf_analyzer
from tests.tiny_pair import write_tiny_pair

from littlebig_benchmarks import images, load
from littlebig_benchmarks.errors import ImagesError
from littlebig_benchmarks.measuring import Bench
from littlebig_benchmarks.rounds import Case
from littlebig_benchmarks.serving import look_at, serving, serving_stages_that_do_nothing
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The tiny pair with a threshold at which little is sure of some photographs and unsure of others."""
    folder = tmp_path_factory.mktemp("tiny")
    export_pair(load_pair(str(write_tiny_pair(folder))), "cpu", folder / "models", threshold=0.9)
    return folder / "models"


@pytest.fixture(scope="module")
def served(repository, tmp_path_factory):
    variants = {"copy": repository / "little_big"}
    with serving(repository, variants, tmp_path_factory.mktemp("served"), None) as running:
        yield running


@pytest.fixture(scope="module")
def pictures(served):
    return images.look_through(served, images.crops(images.photographs(None), 40, seed=0))


def bench(*words):
    return subprocess.run(
        [sys.executable, "-m", "littlebig_cli", "bench", *map(str, words)], capture_output=True, text=True, check=False
    )


def test_the_textbook_gate_and_variants_are_served_beside_the_pair(served):
    assert served.models == ("big", "classify", "copy", "little", "little_big", "preprocess", "textbook")
    assert (served.threshold, served.shape) == (0.9, (32, 32, 3))


def test_a_picture_that_cannot_be_read_is_told_by_its_number(served):
    good = images.crops(images.photographs(None), 1, seed=0)
    with pytest.raises(ImagesError, match=r"^picture 2 of 2 cannot be used: .*; leave it out$"):
        images.look_through(served, [*good, b"no picture"])


@pytest.mark.parametrize("model", ["little_big", "textbook", "copy"])
@pytest.mark.parametrize("how", [{"clients": 4}, {"rate": 100.0}], ids=["clients", "rate"])
def test_every_gate_escalates_exactly_the_unsure_images(served, pictures, model, how):
    mix = images.mix(pictures, 0.35, 4, seed=0)
    answers = load.run(served.url, load.Load(model, seconds=30.0, requests=len(mix.order), **how), pictures, mix)
    assert answers.images == len(mix.order)
    assert answers.measures()["escalation"] == pytest.approx(0.35)
    assert len(answers.unsure_ms) == mix.unsure.sum()


def test_a_load_ends_when_its_time_is_over(served, pictures):
    mix = images.mix(pictures, 0.35, 4, seed=0)
    answers = load.run(served.url, load.Load("little", seconds=0.3, clients=4), pictures, mix)
    assert 0 < answers.images < 100_000
    assert answers.stages == {}


def test_sure_and_unsure_images_are_timed_apart_with_the_server_s_counters(served, pictures, tmp_path):
    measured = Bench(served, pictures, "no perf_analyzer is needed", tmp_path, seconds=0.3, seed=0)
    found = measured.run(Case("little_big", 0.35, 4, apart=True))
    assert found["sure_p50_ms"] > 0
    assert found["unsure_p50_ms"] > 0
    assert 0 <= found["other_load"] <= 1


def test_a_perf_analyzer_that_hangs_once_is_asked_again(served, pictures, tmp_path, monkeypatch):
    first, script = tmp_path / "first", tmp_path / "perf_analyzer"
    script.write_text(
        f'#!/bin/sh\ntest -e {first} || {{ touch {first}; exec sleep 300; }}\nexec {perf_analyzer()} "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr("littlebig_benchmarks.perf_analyzer.PATIENCE", 10.0)
    measured = Bench(served, pictures, str(script), tmp_path, seconds=0.3, seed=0)
    assert measured.run(Case("little_big", 0.35, 4))["images"] >= 40
    assert first.exists()


def test_what_the_server_did_before_the_load_is_not_counted_as_its_cost(served, pictures, tmp_path):
    script = tmp_path / "perf_analyzer"
    turn = f'rm -f {tmp_path / "profile_export.json"}; {perf_analyzer()} "$@"'
    script.write_text(f"#!/bin/sh\n{turn}; {turn}; {turn}; {turn}\n")  # all the server's work but the last is before
    script.chmod(0o755)

    def cpu(binary):
        measured = Bench(served, pictures, str(binary), tmp_path, seconds=1.0, seed=0).run(Case("little_big", 0.35, 4))
        return sum(value for name, value in measured.items() if name.startswith("cpu_ms_per_image_"))

    once, after_others = cpu(perf_analyzer()), cpu(script)
    assert 0 < after_others < 2 * once


def test_the_cascade_in_one_process_escalates_the_same_images(served, pictures, tmp_path):
    measured = Bench(served, pictures, "no perf_analyzer is needed", tmp_path, seconds=0.2, seed=0)
    found = measured.run(Case("in_process", 0.35, 4))
    assert found["escalation"] == pytest.approx(0.35, abs=0.05)
    assert measured.layout is not None


def test_stages_that_do_nothing_are_as_sure_as_the_first_byte_says(repository, tmp_path):
    with serving_stages_that_do_nothing(repository, {}, tmp_path, None) as served:
        assert (served.models, served.shape) == (("big", "little", "little_big", "textbook"), (260, 260, 3))
        pictures = images.for_stages_that_do_nothing(20, 0.15, served.shape, seed=0)
        mix = images.mix(pictures, 0.15, 4, seed=0)
        for model in ("little_big", "textbook"):
            answers = load.run(served.url, load.Load(model, 30.0, 4, requests=len(mix.order)), pictures, mix)
            assert answers.measures()["escalation"] == pytest.approx(0.15)


def test_a_running_server_tells_its_threshold_and_models(served):
    assert look_at(served.url).threshold == served.threshold


def test_everything_is_measured_and_written(repository, tmp_path):
    output = tmp_path / "report"
    words = ["--perf-analyzer", perf_analyzer(), "--repository", repository, "--output", output, "--rounds", 1]
    quick = ["--seconds", 0.3, "--escalation", 0.35, "--concurrency", 4, "--gate-clients", 4]
    lenient = ["--max-spread", 50, "--max-other-load", 0.99, "--variant", f"copy={repository / 'little_big'}"]
    run = bench(*words, *quick, *lenient)
    assert run.returncode == 0, run.stderr
    assert sorted(path.name for path in output.iterdir()) == [
        "gate-alone.svg",
        "latency.svg",
        "offered-rate.svg",
        "report.json",
        "report.md",
        "throughput.svg",
    ]
    assert run.stdout == (output / "report.md").read_text() + "\n"
    found = json.loads((output / "report.json").read_text())
    assert {case["contender"] for case in found["throughput"]} == {
        *("little", "big", "little_big", "copy", "textbook", "classify", "in_process"),
    }
    for case in found["throughput"]:
        assert len(case["rounds"]) == 1
        if case["contender"] not in ("little", "big"):
            assert np.mean([one["escalation"] for one in case["rounds"]]) == pytest.approx(0.35, abs=0.15)
    assert all("cpu_ms_per_image_textbook" in one for one in found["gate_alone"][-1]["rounds"])
    assert str(repository) not in run.stdout


def test_a_server_elsewhere_is_measured_without_what_needs_its_processes(served, tmp_path):
    words = ["--perf-analyzer", perf_analyzer(), "--url", served.url, "--output", tmp_path, "--rounds", 1]
    quick = ["--seconds", 0.3, "--escalation", 0.35, "--concurrency", 4, "--max-other-load", 0.99]
    run = bench(*words, *quick, "--only", "throughput", "--only", "gate")
    assert run.returncode == 0, run.stderr
    assert "* The gate alone was not measured: it needs a server of its own, so --repository." in run.stdout
    assert "* The in-process cascade was not measured: it needs the ONNX graphs of --repository." in run.stdout
    found = json.loads((tmp_path / "report.json").read_text())
    assert not any("cpu" in name for case in found["throughput"] for one in case["rounds"] for name in one)


def test_sigterm_leaves_a_report_of_the_complete_rounds(repository, tmp_path):
    output = tmp_path / "report"
    words = ["--perf-analyzer", perf_analyzer(), "--repository", repository, "--output", output, "--only", "gate"]
    quick = ["--seconds", 0.3, "--gate-clients", 4, "--rounds", 500, "--max-spread", 50, "--max-other-load", 0.99]
    command = [sys.executable, "-m", "littlebig_cli", "bench", *map(str, [*words, *quick])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as measuring:
        said = []
        for line in measuring.stderr:
            said.append(line)
            if "round 2/500" in line:
                measuring.send_signal(signal.SIGTERM)
                break
        said += measuring.stderr.readlines()
        table = measuring.stdout.read()
    assert measuring.returncode == 1, said
    assert said[-1] == f"littlebig: stopped early, {output} has the complete rounds: interrupted\n"
    assert "At most 500 rounds, contenders in turns." in table
    assert "Stopped early: interrupted. Complete rounds, which the tables are of: gate 1 of 500." in table
    found = json.loads((output / "report.json").read_text())
    assert found["stopped"] == "interrupted"
    assert {len(case["rounds"]) for case in found["gate_alone"]} == {1}
    assert (output / "gate-alone.svg").exists()


def test_a_gate_that_fails_gives_no_figure(repository, tmp_path):
    broken = shutil.copytree(repository / "little_big", tmp_path / "broken")
    (broken / "1" / "model.py").write_text(
        "import triton_python_backend_utils as pb_utils\n"
        "class TritonPythonModel:\n"
        "    def execute(self, requests):\n"
        "        return [pb_utils.InferenceResponse(error=pb_utils.TritonError('out of order')) for _ in requests]\n"
    )
    words = ["--perf-analyzer", perf_analyzer(), "--repository", repository, "--output", tmp_path / "report"]
    run = bench(*words, "--only", "gate", "--seconds", 0.3, "--rounds", 1, "--variant", f"broken={broken}")
    assert run.returncode == 1
    last = run.stderr.splitlines()[-1]
    assert last.startswith("littlebig: perf_analyzer on 'broken' failed: ")
    assert "out of order" in last
    assert not (tmp_path / "report").exists()
