"""`littlebig plan` on a real server with a pair of tiny models: that it measures what it says, not how fast they are."""

import json
import subprocess
import sys
import threading

import pytest

from littlebig_benchmarks.endpoint import Plain
from littlebig_benchmarks.errors import RunFailed
from littlebig_benchmarks.planning.asking import infer, random_images
from littlebig_benchmarks.planning.capacity import Target, plan
from littlebig_benchmarks.planning.curves import BATCHES, read_curves
from littlebig_benchmarks.planning.measuring import measure
from littlebig_benchmarks.serving import inspect
from littlebig_server import TritonServer


@pytest.fixture(scope="module")
def server(mixed_repository):
    with TritonServer(mixed_repository) as running:
        yield running


def run_plan(*words):
    return subprocess.run(
        [sys.executable, "-m", "littlebig_cli", "plan", "--pair", "tiny", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def check(curves):
    """What holds for the tiny pair on any machine."""
    for stage in (curves.little, curves.big):
        assert tuple(stage.curve.batches) == BATCHES
        assert stage.max_batch_size == 32
        # 32 images take longer than one, and less than 32 times one: or the wrong counters were read.
        assert stage.curve.batches[1] < stage.curve.batches[32] < 32 * stage.curve.batches[1]
    assert curves.device.capacity > 0
    assert {"processor", "tritonserver", "measured"} <= set(curves.machine)


def test_stages_are_measured_as_they_are_served(server):
    lines = []
    curves = measure(inspect(Plain(server.grpc_url)), "tiny", "a device far away", lines.append, turns=1)
    check(curves)
    assert curves.device.name == "a device far away"
    assert lines[-1] == "measure both stages at once, turn 1 of 1"
    assert plan(curves, Target(1.0, 0.35)).replicas(plan(curves, Target(1.0, 0.35)).cascade) == 1


def test_server_with_other_users_gives_no_curves(server):
    ended = threading.Event()
    served = inspect(Plain(server.grpc_url))

    def send():
        with served.endpoint.open() as client:
            tensor = random_images(served.shape, 1)
            while not ended.is_set():
                infer(client, "little", tensor, None)

    other = threading.Thread(target=send)
    other.start()
    try:
        with pytest.raises(RunFailed, match=r"the server has other users; measure one that has none$"):
            measure(served, "tiny", None, lambda line: None, turns=1)
    finally:
        ended.set()
        other.join()


def test_server_that_does_not_answer_is_one_line():
    run = run_plan("--measure", "--url", "127.0.0.1:1", "--device", "none")
    assert run.returncode == 1
    assert run.stderr.startswith("littlebig: no Triton server answers gRPC at 127.0.0.1:1 (")


@pytest.mark.slow
def test_command_serves_measures_writes_and_plans(mixed_repository, tmp_path):
    path = tmp_path / "tiny.json"
    target = ["--curves", path, "--rate", 100, "--escalation", 0.35, "--format", "json"]
    run = run_plan("--measure", "--repository", mixed_repository, *target)
    assert run.returncode == 0, run.stderr
    check(read_curves(path, "tiny"))
    content = json.loads(run.stdout)
    assert content["plans"]["cascade"]["replicas"] == content["plans"]["big"]["replicas"] == 1
    assert json.loads(run_plan(*target).stdout) == content
