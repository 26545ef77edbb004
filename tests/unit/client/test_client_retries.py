"""Servers that stop or are lost: the client asks another one, or waits a moment for the successor."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from fake_triton import FakeTriton, canonical, encoded_picture

from littlebig_client import Client, ServerFailure, ServerUnreachable

# What tritonserver 24.10 was seen to answer after SIGTERM; tests/e2e/operations/test_draining.py asks the real one.
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
    "the transport": (grpc.StatusCode.CANCELLED, "CANCELLED"),  # a request that it had taken and does not answer
}


@pytest.fixture
def servers():
    """Two servers, and the gRPC target that stands for both."""
    two = (FakeTriton(), FakeTriton())
    yield two
    for one in two:
        one.stop()


def target(servers) -> str:
    return "ipv4:" + ",".join(server.url for server in servers)


@pytest.mark.parametrize("answer", STOPPING.values(), ids=STOPPING)
def test_a_request_that_meets_a_stopping_server_is_asked_again(server, client, answer):
    server.fail_with, server.fail_times = answer, 2
    assert client.classify(canonical(3)).label == 3
    assert len(server.seen) == 3


@pytest.mark.parametrize("answer", STOPPING.values(), ids=STOPPING)
def test_a_server_that_does_not_finish_stopping_is_a_failure(server, answer):
    status, said = server.fail_with = answer
    with Client(server.url, retry_for=0.2) as client, pytest.raises(ServerFailure) as failed:
        client.classify(canonical(3))
    assert str(failed.value) == f"the server is stopping ({status.name}): {said}"
    assert failed.value.status == status.name
    assert len(server.seen) > 1


def test_retries_end_with_the_requests_own_timeout(server):
    server.fail_with = STOPPING["a model"]
    before = time.monotonic()
    with Client(server.url, timeout=0.3, retry_for=100) as client, pytest.raises(ServerFailure):
        client.classify(canonical(3))
    assert time.monotonic() - before < 100


@pytest.mark.parametrize("answer", STOPPING.values(), ids=STOPPING)
def test_without_retries_a_request_is_sent_once(server, answer):
    server.fail_with = answer
    with Client(server.url, retry_for=0) as client, pytest.raises(ServerFailure):
        client.classify(encoded_picture(3))
    assert len(server.seen) == 1


@pytest.mark.parametrize("said", ["in ensemble 'classify', Exceeds maximum queue size", "Request timeout expired"])
def test_a_server_with_too_much_to_do_is_not_asked_again(server, client, said):
    server.fail_with = (grpc.StatusCode.UNAVAILABLE, said)
    with pytest.raises(ServerFailure, match=said):
        client.classify(encoded_picture(3))
    assert len(server.seen) == 1


def test_requests_are_spread_over_all_servers_of_a_target(servers):
    with Client(target(servers)) as client:
        client.classify(canonical(1))
        deadline = time.monotonic() + 30
        while min(len(server.seen) for server in servers) < 5:  # the second connection may come a moment later
            assert time.monotonic() < deadline
            client.classify(canonical(1))


def test_a_lost_server_of_two_is_not_noticed(servers):
    first, second = servers
    with Client(target(servers)) as client:
        while not (first.seen and second.seen):
            client.classify(canonical(1))
        first.hold = threading.Event()
        seen = len(first.seen)
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(lambda: list(client.classify_many([canonical(2)] * 16, concurrency=16)))
            first.wait_for_requests(seen + 1)
            stopped = first._server.stop(0)  # with requests that it has taken and will not answer
            answers = asking.result(60)
            first.hold.set()
            stopped.wait()
    assert [getattr(answer, "label", answer) for answer in answers] == [2] * 16


def test_a_server_that_comes_back_in_time_was_never_away(server):
    with Client(server.url, retry_for=30) as client:
        assert client.classify(canonical(1)).label == 1
        server.stop()
        threading.Timer(0.3, server.start).start()
        assert client.classify(canonical(2)).label == 2


def test_a_server_that_was_never_there_is_told_at_once(server):
    server.stop()
    before = time.monotonic()
    with Client(server.url, retry_for=100, timeout=100) as client, pytest.raises(ServerUnreachable):
        client.classify(canonical(1))
    assert time.monotonic() - before < 100
