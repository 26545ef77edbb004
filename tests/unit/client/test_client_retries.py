"""Retries: a request whose server stops or is lost goes to another server, or waits for a restart."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from fake_triton import FakeTriton, canonical, encoded_picture

from littlebig_client import Client, ServerFailure, ServerUnreachable

# Answers of tritonserver 24.10 after SIGTERM; tests/e2e/operations/test_draining.py checks the real server.
STOPPING = {
    "the server": (grpc.StatusCode.UNAVAILABLE, "Server exiting"),
    "a queue": (
        grpc.StatusCode.UNAVAILABLE,
        "[request id: <id_unknown>] Server is stopping, scheduler for model has stopped accepting new inference requests",
    ),
    "a stage": (
        grpc.StatusCode.INTERNAL,
        "stage 'little' failed: Model little - Error when running inference: Server not ready",
    ),
    "a model": (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'little_big' has no available versions"),
    "the transport": (grpc.StatusCode.CANCELLED, "CANCELLED"),  # a request that was accepted and never answered
}


@pytest.fixture
def servers():
    """Two servers, and the gRPC target that stands for both."""
    two = (FakeTriton(), FakeTriton())
    yield two
    for server in two:
        server.stop()


def target(servers) -> str:
    return "ipv4:" + ",".join(server.url for server in servers)


@pytest.mark.parametrize("answer", STOPPING.values(), ids=STOPPING)
def test_request_to_a_stopping_server_is_retried(server, client, answer):
    server.fail_with, server.fail_times = answer, 2
    assert client.classify(canonical(3)).label == 3
    assert len(server.seen) == 3


@pytest.mark.parametrize("answer", STOPPING.values(), ids=STOPPING)
def test_server_that_keeps_stopping_raises_server_failure(server, answer):
    status, message = server.fail_with = answer
    with Client(server.url, retry_for=0.2) as client, pytest.raises(ServerFailure) as failed:
        client.classify(canonical(3))
    assert str(failed.value) == f"the server is stopping ({status.name}): {message}"
    assert failed.value.status == status.name
    assert len(server.seen) > 1


def test_retries_end_with_the_request_timeout(server):
    server.fail_with = STOPPING["a model"]
    before = time.monotonic()
    with Client(server.url, timeout=0.3, retry_for=100) as client, pytest.raises(ServerFailure):
        client.classify(canonical(3))
    assert time.monotonic() - before < 100


@pytest.mark.parametrize("answer", STOPPING.values(), ids=STOPPING)
def test_retry_for_zero_sends_a_request_once(server, answer):
    server.fail_with = answer
    with Client(server.url, retry_for=0) as client, pytest.raises(ServerFailure):
        client.classify(encoded_picture(3))
    assert len(server.seen) == 1


@pytest.mark.parametrize("message", ["in ensemble 'classify', Exceeds maximum queue size", "Request timeout expired"])
def test_request_to_a_busy_server_is_not_retried(server, client, message):
    server.fail_with = (grpc.StatusCode.UNAVAILABLE, message)
    with pytest.raises(ServerFailure, match=message):
        client.classify(encoded_picture(3))
    assert len(server.seen) == 1


def test_requests_are_spread_over_all_servers_of_a_target(servers):
    with Client(target(servers)) as client:
        client.classify(canonical(1))
        deadline = time.monotonic() + 30
        while min(len(server.seen) for server in servers) < 5:  # the second connection may come a moment later
            assert time.monotonic() < deadline
            client.classify(canonical(1))


def test_requests_of_a_lost_server_are_answered_by_the_other(servers):
    first, second = servers
    with Client(target(servers)) as client:
        while not (first.seen and second.seen):
            client.classify(canonical(1))
        first.hold = threading.Event()
        seen = len(first.seen)
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(lambda: list(client.classify_many([canonical(2)] * 16, concurrency=16)))
            first.wait_for_requests(seen + 1)
            stopped = first._server.stop(0)  # with accepted requests that it never answers
            answers = asking.result(60)
            first.hold.set()
            stopped.wait()
    assert [getattr(answer, "label", answer) for answer in answers] == [2] * 16


def test_request_waits_for_a_restarting_server(server):
    with Client(server.url, retry_for=30) as client:
        assert client.classify(canonical(1)).label == 1
        server.stop()
        threading.Timer(0.3, server.start).start()
        assert client.classify(canonical(2)).label == 2


def test_server_that_never_responded_is_not_retried(server):
    server.stop()
    before = time.monotonic()
    with Client(server.url, retry_for=100, timeout=100) as client, pytest.raises(ServerUnreachable):
        client.classify(canonical(1))
    assert time.monotonic() - before < 100
