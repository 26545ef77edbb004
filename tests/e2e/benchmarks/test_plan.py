"""`littlebig plan` on a real server with a pair of tiny models: figures that are real, not how fast anything is."""

import json
import math
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import tritonclient.grpc
from tests.tiny_pair import write_tiny_pair

from littlebig_benchmarks.errors import RunFailed
from littlebig_benchmarks.planning.asking import images, infer
from littlebig_benchmarks.planning.curves import read_curves
from littlebig_benchmarks.planning.measuring import measure
from littlebig_benchmarks.planning.report import HELD
from littlebig_benchmarks.serving import look_at
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair
from littlebig_server import TritonServer


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The tiny pair with a threshold at which little is sure of some photographs and unsure of others."""
    folder = tmp_path_factory.mktemp("tiny")
    export_pair(load_pair(str(write_tiny_pair(folder))), "cpu", folder / "models", threshold=0.9)
    return folder / "models"


@pytest.fixture(scope="module")
def measured(repository, tmp_path_factory):
    """Everything in one run: curves, validation and plan; (the run, where its curves are)."""
    path = tmp_path_factory.mktemp("curves") / "tiny.json"
    words = ["--measure", "--validate", "--repository", repository, "--seconds", 1, "--rounds", 1, "--format", "json"]
    target = ["--rate", 100, "--escalation", 0.35, "--target-p99", 1000, "--simulated", 1000]
    return plan("--curves", path, *words, *target), path


def plan(*words):
    return subprocess.run(
        [sys.executable, "-m", "littlebig_cli", "plan", "--pair", "tiny", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_stages_are_measured_as_they_are_served(measured):
    run, path = measured
    assert run.returncode == 0, run.stderr
    curves = read_curves(path, "tiny")
    assert curves.device.kind == "cpu"
    assert 0.2 < curves.device.capacity <= len(os.sched_getaffinity(0))
    for stage in (curves.little, curves.big):
        assert sorted(stage.curve.batches) == [1, 2, 4, 8, 16, 32]
        assert all(len(times) >= 5 for times in stage.curve.batches.values())
        assert stage.max_batch_size == 32
    assert curves.little.weight == 1
    assert 0 < curves.big.weight < 1  # it is nice
    assert (curves.little.preferred_batch_size, curves.big.preferred_batch_size) == (2, 2)
    assert curves.gate.max_batches_in_flight == 4
    # 32 images take longer than one, and less than 32 times one: or the wrong counters were read.
    for stage in (curves.little, curves.big):
        one, most = (float(np.median(stage.curve.batches[size])) for size in (1, 32))
        assert one < most < 32 * one
    assert 0 < curves.transport < 0.1
    assert {"processor", "tritonserver", "measured"} <= set(curves.machine)


def test_the_simulation_is_put_beside_the_server(measured):
    run, _ = measured
    clients, *rates = json.loads(run.stdout)["validation"]
    assert clients["load"] == "16 clients"
    reached = clients["measures"]["images/s"]["measured"][0]
    for point, share in zip(rates, (0.4, 0.75), strict=True):
        assert point["load"] == f"{reached * share:.0f} images/s at random ({share:.0%})"
        assert point["escalation"] == pytest.approx(0.35, abs=0.1)
        for one in point["measures"].values():
            ((value,), (simulated,)) = one["measured"], one["predicted"]
            assert value > 0
            assert simulated > 0
            assert one["error"] == pytest.approx(simulated / value - 1)
        # The simulation is offered the same and no more. It may answer less: if the machine was busy with something
        # else while the curves were measured, that is what they say.
        assert point["measures"]["images/s"]["predicted"][0] <= 1.25 * reached * share
    # The same server under the same load, within an order of magnitude: these models take a fraction of a millisecond,
    # and what a shared machine does to them is no property of the code. One pause of 80 ms is the p99 of a second's run.
    for point in (clients, *rates):
        for name in HELD:
            one = point["measures"][name]
            assert abs(math.log10(one["predicted"][0] / one["measured"][0])) < 1


def test_the_plan_uses_what_was_measured(measured):
    run, path = measured
    found = json.loads(run.stdout)
    assert found["plans"]["cascade"]["replicas"] == found["plans"]["big"]["replicas"] == 1
    target = ["--rate", 100, "--escalation", 0.35, "--target-p99", 1000, "--simulated", 1000]
    again = plan("--curves", path, *target, "--format", "json")
    assert json.loads(again.stdout)["plans"] == found["plans"]


def test_a_running_server_is_measured_under_the_name_that_is_given(repository, tmp_path):
    with TritonServer(repository) as running:
        words = [
            "--measure",
            "--url",
            running.grpc_url,
            "--device",
            "a device far away",
            "--curves",
            tmp_path / "c.json",
        ]
        run = plan(*words)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("# Stage curves of tiny on a device far away (")
    assert read_curves(tmp_path / "c.json", "tiny").device.name == "a device far away"


def test_a_server_that_somebody_else_uses_gives_no_curves(repository):
    ended = threading.Event()

    def ask_on(served):
        with tritonclient.grpc.InferenceServerClient(served.url) as client:
            tensor = images(served.shape, 1)
            while not ended.is_set():
                infer(client, "little", tensor, None)

    with TritonServer(repository) as running:
        served = look_at(running.grpc_url)
        somebody = threading.Thread(target=ask_on, args=(served,))
        somebody.start()
        try:
            with pytest.raises(RunFailed, match=r"somebody else uses this server, measure one that nobody does$"):
                measure(served, "tiny", None, lambda line: None)
        finally:
            ended.set()
            somebody.join()


def test_no_server_at_the_url(tmp_path):
    run = plan("--measure", "--url", "127.0.0.1:1", "--device", "none")
    assert run.returncode == 1
    assert run.stderr.startswith("littlebig: no Triton server answers gRPC at 127.0.0.1:1 (")
