"""Probes of a real server whose processes are killed, stopped, overloaded or stopping."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
import urllib.request

import pytest
from click.testing import CliRunner
from tests.e2e.gate.conftest import serve_puppets
from tests.e2e.gate.puppets import SURE, until

from littlebig_cli.main import littlebig
from littlebig_client import Probe, ProbeFailed

STATES = ("startup", "ready", "live")


@pytest.fixture(scope="module")
def shared(tiny_repository, tmp_path_factory):
    """One server for the tests that leave it as it was."""
    with serve_puppets(tiny_repository, tmp_path_factory.mktemp("shared") / "models") as running:
        yield running


@pytest.fixture
def healthy(shared):
    """The shared server, whose stages behave normally again after the test."""
    yield shared
    for stage in ("little", "big"):
        shared.set_behaviour(stage)


@pytest.fixture
def cascade(puppets):
    """A server of its own, whose processes a test may kill."""
    with puppets(gate_instances=2) as running:
        yield running


def failure(server, state: str, *, timeout: float = 10, big_required: bool = True) -> str | None:
    """The error of a probe, None if it passes."""
    with Probe(server.grpc_url, timeout, big_required=big_required) as probe:
        try:
            getattr(probe, state)()
        except ProbeFailed as failed:
            return str(failed)
    return None


@pytest.mark.parametrize("big", ["required", "optional"])
def test_a_healthy_server_is_in_every_state(healthy, big):
    for state in STATES:
        done = CliRunner().invoke(littlebig, ["probe", state, "--url", healthy.server.grpc_url, "--big", big])
        assert (done.exit_code, done.output) == (0, "")


def test_without_a_server_every_probe_fails_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"127.0.0.1:{closed.getsockname()[1]}"
    for state in STATES:
        done = CliRunner().invoke(littlebig, ["probe", state, "--url", url, "--timeout", "1"])
        assert done.exit_code == 1
        assert done.output == (
            f"littlebig: no Triton server answers gRPC at {url}: nothing listens there: is it running (littlebig serve), "
            "and is this its gRPC port?\n"
        )


@pytest.mark.parametrize("how_many", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_gate_is_neither_ready_nor_live_though_triton_reports_health(cascade, how_many):
    server = cascade.server
    for pid in cascade.stub("little_big")[:how_many]:
        os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    # The first probe as Kubernetes runs it: the command.
    assert CliRunner().invoke(littlebig, ["probe", "ready", "--url", server.grpc_url]).exit_code == 1
    assert time.monotonic() - killed < 10
    for _ in range(2):  # it stays dead in later probes
        for state in ("ready", "live"):
            error = failure(server, state) or ""
            assert error.startswith(
                f"a Python process of the server at {server.grpc_url} is dead: in ensemble 'classify', Stub process 'little_big_0_"
            )
            assert error.endswith("is not healthy.")
    for path in ("live", "ready"):
        with urllib.request.urlopen(f"http://{server.http_url}/v2/health/{path}", timeout=30) as answer:
            assert answer.status == 200
    assert "is dead" in (failure(server, "startup") or "")


def test_a_killed_preprocess_is_neither_ready_nor_live(cascade):
    for pid in cascade.stub("preprocess"):
        os.kill(pid, signal.SIGKILL)
    for state in ("startup", "ready", "live"):
        assert "is dead: in ensemble 'classify', Stub process 'preprocess_0_" in (failure(cascade.server, state) or "")


def test_a_stopped_process_of_the_gate_counts_as_dead(cascade):
    cascade.signal("little_big", signal.SIGSTOP)
    for state in ("ready", "live"):
        assert " is dead: in ensemble 'classify', Stub process 'little_big_0_" in (failure(cascade.server, state) or "")


def test_a_hanging_gate_is_neither_ready_nor_live(healthy, tmp_path):
    healthy.set_behaviour("little", wait_for=str(tmp_path / "go-on"))
    for state in ("ready", "live"):
        assert failure(healthy.server, state, timeout=2) == (
            f"model 'classify' at {healthy.server.grpc_url} hangs: no request was answered within 2 s"
        )
    (tmp_path / "go-on").touch()


def test_without_big_a_server_is_live_and_ready_only_if_big_is_optional(healthy):
    healthy.triton.unload_model("big")
    url = healthy.server.grpc_url
    for state in STATES:
        assert failure(healthy.server, state, big_required=False) is None
    assert failure(healthy.server, "startup") == f"model 'big' at {url} is not ready: the server's log says why"
    assert (failure(healthy.server, "ready") or "").startswith(f"the server at {url} fails: stage 'big' failed: ")
    assert failure(healthy.server, "live") is None
    healthy.triton.load_model("big")


def test_a_dead_big_process_is_not_live_only_if_big_is_required(cascade):
    cascade.signal("big", signal.SIGKILL)
    assert failure(cascade.server, "ready") is not None
    assert "is dead: Stub process 'big_0_0' is not healthy." in (failure(cascade.server, "live") or "")
    assert failure(cascade.server, "ready", big_required=False) is None
    assert failure(cascade.server, "live", big_required=False) is None


def test_a_failing_big_is_not_ready_even_if_little_answers_for_it(puppets):
    with puppets(on_big_failure="little") as running:
        running.set_behaviour("big", error="out of order")
        assert failure(running.server, "ready") == (
            f"the server at {running.server.grpc_url} fails: stage 'big' failed: out of order"
        )
        assert failure(running.server, "ready", big_required=False) is None
        assert failure(running.server, "live") is None


def test_a_failing_stage_is_not_ready_but_live(healthy):
    healthy.set_behaviour("little", error="out of order")
    assert failure(healthy.server, "ready") == (
        f"the server at {healthy.server.grpc_url} fails: in ensemble 'classify', stage 'little' failed: out of order"
    )
    assert failure(healthy.server, "live") is None


def test_a_stopping_server_is_unready_and_live_and_answers_what_it_has(cascade, tmp_path):
    computes, go_on, answered = tmp_path / "computes", tmp_path / "go-on", threading.Event()
    outcome: list[object] = []
    cascade.set_behaviour("little", announce=str(computes), wait_for=str(go_on))
    cascade.send(SURE, on_response=lambda result, error: (outcome.append(error), answered.set()))
    until(computes.exists, "little computes")
    os.kill(cascade.server.pid, signal.SIGTERM)
    error = until(lambda: failure(cascade.server, "ready"), "the probe of readiness fails")
    assert error.startswith(f"the server at {cascade.server.grpc_url} is stopping: ")
    assert failure(cascade.server, "live") is None
    go_on.touch()
    assert answered.wait(30)
    assert outcome == [None], "a request in flight at SIGTERM is answered"


def test_an_overloaded_server_is_ready_and_live(healthy):
    healthy.set_behaviour("little", seconds=0.02)
    outcome: list[object] = []
    for _ in range(200):  # four seconds of work
        healthy.send(SURE, on_response=lambda result, error: outcome.append(error))
    for state in ("ready", "live"):
        assert failure(healthy.server, state, timeout=1, big_required=False) is None
    assert len(outcome) < 200, "it was not busy"
    until(lambda: len(outcome) == 200, "all are answered", 60)
    assert set(outcome) == {None}
