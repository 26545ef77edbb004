"""Retries: a request whose server stops or is lost goes to another server, or waits for a restart."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from fake_triton import FakeTriton, canonical, encoded_picture

from littlebig_client import Client, ClientError, InvalidRequest, ServerFailure, ServerUnreachable

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


def test_retry_for_zero_sends_a_request_once(server):
    server.fail_with = STOPPING["the server"]
    with Client(server.url, retry_for=0) as client, pytest.raises(ServerFailure):
        client.classify(encoded_picture(3))
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "answer",
    [
        (grpc.StatusCode.UNAVAILABLE, "in ensemble 'classify', Exceeds maximum queue size"),
        (grpc.StatusCode.UNAVAILABLE, "Request timeout expired"),
        (grpc.StatusCode.UNAVAILABLE, "This protocol is restricted, expecting header 'x'"),
        (grpc.StatusCode.INVALID_ARGUMENT, "no"),
    ],
    ids=["busy", "late", "closed to clients", "invalid"],
)
def test_request_that_would_fail_again_is_sent_once(server, client, answer):
    server.fail_with = answer
    with pytest.raises(ClientError, match=answer[1]):
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


@pytest.mark.parametrize("requests", [1, 3])
def test_every_request_waits_for_a_restarting_server(server, requests):
    with Client(server.url, retry_for=30) as client:
        assert client.classify(canonical(1)).label == 1
        for _ in range(requests):
            server.stop()
            starting = threading.Timer(0.3, server.start)
            starting.start()
            assert client.classify(canonical(2)).label == 2
            starting.join()


def test_images_in_flight_and_after_them_wait_for_a_restarting_server(server):
    images = [canonical(label % 10) for label in range(200)]
    with Client(server.url, retry_for=30) as client:
        answers = client.classify_many(images, concurrency=4)
        given = [next(answers) for _ in range(20)]
        server.stop()
        starting = threading.Timer(1.0, server.start)
        starting.start()
        given += answers
        starting.join()
    assert [getattr(answer, "label", answer) for answer in given] == [label % 10 for label in range(200)]


def test_server_that_never_returns_costs_one_wait_for_all_images(server):
    images = [encoded_picture(1)] * 500
    with Client(server.url, retry_for=1.0) as client:
        answers = client.classify_many(images, concurrency=4)
        first = next(answers)
        server.stop()
        before = time.monotonic()
        others = list(answers)
        took = time.monotonic() - before
    assert first.label == 1
    failures = {str(answer) for answer in others if isinstance(answer, ServerUnreachable)}
    assert failures == {
        f"the server at {server.url} is gone and did not return within 1 s: "
        "nothing listens there: is it running (littlebig serve), and is this its gRPC port?"
    }
    assert 0.5 < took < 60  # 500 / 4 waits would take 125 s


def test_server_that_returns_after_the_wait_is_waited_for_again(server):
    with Client(server.url, retry_for=0.2) as client:
        client.classify(canonical(1))
        server.stop()
        for _ in range(2):
            with pytest.raises(ServerUnreachable):
                client.classify(canonical(1))
        server.start()
        client.wait_until_ready()
        server.fail_with, server.fail_times = STOPPING["the server"], 2
        assert client.classify(canonical(2)).label == 2


@pytest.mark.parametrize(
    "answer",
    [
        (grpc.StatusCode.INTERNAL, "in ensemble 'classify', Stub process 'little_big_0_0' is not healthy."),
        (grpc.StatusCode.INTERNAL, "batch size 35 for 'little_big_0_0', max allowed is 32"),
        (
            grpc.StatusCode.INVALID_ARGUMENT,
            "in ensemble 'classify', incomplete string data for inference input 'encoded_image', expecting string of length 65 but only 64 bytes available",
        ),
        (
            grpc.StatusCode.INTERNAL,
            "Failed to increase the shared memory pool size for key 'littlebig_1_' to 67108864 bytes. Error: No space left on device",
        ),
    ],
)
def test_request_that_failed_because_of_others_or_a_dead_process_is_repeated(server, client, answer):
    server.fail_with, server.fail_times = answer, 2
    assert client.classify(canonical(3)).label == 3


def test_close_ends_a_wait_for_a_lost_server(server):
    client = Client(server.url, retry_for=100, timeout=100)
    client.classify(canonical(1))
    server.stop()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.classify, canonical(1))
        time.sleep(0.1)  # whether it waits already or not, it must end
        client.close()
        with pytest.raises(InvalidRequest, match="this client is closed"):
            waiting.result(60)


def test_server_that_never_responded_is_not_retried(server):
    server.stop()
    before = time.monotonic()
    with Client(server.url, retry_for=100, timeout=100) as client, pytest.raises(ServerUnreachable):
        client.classify(canonical(1))
    assert time.monotonic() - before < 100
