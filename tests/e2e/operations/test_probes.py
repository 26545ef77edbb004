"""The probes against a real server whose processes are killed, stopped, overwhelmed or on their way out."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.request

import pytest
from click.testing import CliRunner
from tests.e2e.gate.puppets import SURE, until

from littlebig_cli.main import littlebig
from littlebig_client import Probe, ProbeFailed
from littlebig_server import TritonServer

STATES = ("startup", "ready", "live")


@pytest.fixture
def cascade(puppets):
    with puppets(gate_instances=2) as running:
        yield running


def failure(server, state: str, *, timeout: float = 10, big_required: bool = True) -> str | None:
    """What a probe says, None if it passes."""
    with Probe(server.grpc_url, timeout, big_required=big_required) as probe:
        try:
            getattr(probe, state)()
        except ProbeFailed as failed:
            return str(failed)
    return None


@pytest.mark.parametrize("big", ["required", "optional"])
def test_a_server_that_is_well_is_in_every_state(cascade, big):
    for state in STATES:
        done = CliRunner().invoke(littlebig, ["probe", state, "--url", cascade.server.grpc_url, "--big", big])
        assert (done.exit_code, done.output) == (0, "")


def test_no_server_is_in_no_state(tiny_repository):
    with TritonServer(tiny_repository) as server:
        url = server.grpc_url
    for state in STATES:
        done = CliRunner().invoke(littlebig, ["probe", state, "--url", url, "--timeout", "2"])
        assert done.exit_code == 1
        assert done.output == f"littlebig: no Triton server answers gRPC at {url} within 2 s\n"


@pytest.mark.parametrize("how_many", [1, 2])
def test_a_killed_gate_is_neither_ready_nor_live_though_its_health_says_so(cascade, how_many):
    server = cascade.server
    for pid in cascade.stub("little_big")[:how_many]:
        os.kill(pid, signal.SIGKILL)
    for _ in range(2):  # and it stays dead, however often it is asked
        for state in ("ready", "live"):
            said = failure(server, state) or ""
            assert said.startswith(
                f"a Python process of the server at {server.grpc_url} is dead: Stub process 'little_big_0_"
            )
            assert said.endswith("is not healthy.")
    for path in ("live", "ready"):
        with urllib.request.urlopen(f"http://{server.http_url}/v2/health/{path}", timeout=30) as answer:
            assert answer.status == 200
    assert failure(server, "startup") is None


def test_a_killed_gate_is_unready_within_ten_seconds(cascade):
    # As Kubernetes asks: a new process each time.
    cascade.signal("little_big", signal.SIGKILL)
    killed = time.monotonic()
    done = CliRunner().invoke(littlebig, ["probe", "ready", "--url", cascade.server.grpc_url])
    assert done.exit_code == 1
    assert time.monotonic() - killed < 10


def test_a_stopped_process_of_the_gate_counts_as_dead(cascade):
    cascade.signal("little_big", signal.SIGSTOP)
    for state in ("ready", "live"):
        assert " is dead: Stub process 'little_big_0_" in (failure(cascade.server, state) or "")


def test_a_gate_that_waits_for_ever_is_neither_ready_nor_live(cascade, tmp_path):
    cascade.set_behaviour("little", wait_for=str(tmp_path / "go-on"))
    for state in ("ready", "live"):
        assert failure(cascade.server, state, timeout=2) == (
            f"model 'little_big' at {cascade.server.grpc_url} hangs: no request was answered within 2 s"
        )
    (tmp_path / "go-on").touch()


def test_without_big_a_server_is_ready_where_big_is_optional_and_is_never_restarted(cascade):
    cascade.triton.unload_model("big")
    url = cascade.server.grpc_url
    for state in STATES:
        assert failure(cascade.server, state, big_required=False) is None
    assert failure(cascade.server, "startup") == f"model 'big' at {url} is not ready: the server's log says why"
    assert (failure(cascade.server, "ready") or "").startswith(f"the server at {url} fails: stage 'big' failed: ")
    assert failure(cascade.server, "live") is None


def test_a_dead_process_of_big_is_a_reason_to_restart_where_big_is_required(cascade):
    cascade.signal("big", signal.SIGKILL)
    assert failure(cascade.server, "ready") is not None
    assert "is dead: Stub process 'big_0_0' is not healthy." in (failure(cascade.server, "live") or "")
    assert failure(cascade.server, "ready", big_required=False) is None
    assert failure(cascade.server, "live", big_required=False) is None


def test_big_that_fails_is_not_ready_though_little_stands_in_for_it(puppets):
    with puppets(on_big_failure="little") as running:
        running.set_behaviour("big", error="out of order")
        assert failure(running.server, "ready") == (
            f"the server at {running.server.grpc_url} fails: stage 'big' failed: out of order"
        )
        assert failure(running.server, "ready", big_required=False) is None
        assert failure(running.server, "live") is None


def test_a_stage_that_fails_is_not_ready_but_live(cascade):
    cascade.set_behaviour("little", error="out of order")
    assert failure(cascade.server, "ready") == (
        f"the server at {cascade.server.grpc_url} fails: stage 'little' failed: out of order"
    )
    assert failure(cascade.server, "live") is None


def test_a_server_that_stops_is_unready_and_is_left_to_it(cascade, tmp_path):
    asked, go_on, answered = tmp_path / "asked", tmp_path / "go-on", threading.Event()
    outcome: list[object] = []
    cascade.set_behaviour("little", announce=str(asked), wait_for=str(go_on))
    cascade.send(SURE, on_response=lambda result, error: (outcome.append(error), answered.set()))
    until(asked.exists, "little is asked")
    os.kill(cascade.server.pid, signal.SIGTERM)
    said = until(lambda: failure(cascade.server, "ready"), "the probe of readiness fails")
    assert said.startswith(f"the server at {cascade.server.grpc_url} is stopping: ")
    assert failure(cascade.server, "live") is None
    go_on.touch()
    assert answered.wait(30)
    assert outcome == [None], "a request that was computed when the server was told to stop is answered"


def test_a_server_with_too_much_to_do_is_ready_and_live(cascade):
    cascade.set_behaviour("little", seconds=0.02)
    outcome: list[object] = []
    for _ in range(400):  # eight seconds of work
        cascade.send(SURE, on_response=lambda result, error: outcome.append(error))
    for state in ("ready", "live"):
        assert failure(cascade.server, state, timeout=1, big_required=False) is None
    assert len(outcome) < 400, "it was not busy"
    until(lambda: len(outcome) == 400, "all are answered", 60)
    assert set(outcome) == {None}
