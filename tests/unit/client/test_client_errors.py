"""Every way a server can fail, and what the client makes of it."""

from __future__ import annotations

import pickle
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from fake_triton import canonical, encoded_picture

from littlebig_client import (
    Client,
    ClientError,
    InvalidRequest,
    ModelNotServed,
    RequestRejected,
    ServerFailure,
    ServerTimeout,
    ServerUnreachable,
)

UNREACHABLE = (
    "no Triton server answers gRPC at {url}: is it running there (littlebig serve), and is this its gRPC port?"
)


@pytest.fixture
def silent():
    """A listening socket that never answers: the url of a server that hangs before its first word."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def unused_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return f"127.0.0.1:{listening.getsockname()[1]}"


STATUSES = {
    "INVALID_ARGUMENT": (RequestRejected, "{image}: one two"),
    "DEADLINE_EXCEEDED": (
        ServerTimeout,
        "{image}: no answer from {url} within 30 s: raise the timeout, or send fewer requests at a time",
    ),
    "NOT_FOUND": (
        ModelNotServed,
        "the Triton server at {url} does not serve a Little-Big repository: one two",
    ),
}
OTHERS = (
    "ABORTED",
    "ALREADY_EXISTS",
    "DATA_LOSS",
    "FAILED_PRECONDITION",
    "INTERNAL",
    "OUT_OF_RANGE",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
    "UNIMPLEMENTED",
    "UNKNOWN",
)


@pytest.mark.parametrize("status", [*STATUSES, *OTHERS])
def test_each_status_becomes_one_line(server, client, tmp_path, status):
    image = tmp_path / "cat.png"
    image.write_bytes(encoded_picture(1))
    server.fail_with = (grpc.StatusCode[status], "one\n  two")
    kind, text = STATUSES.get(status, (ServerFailure, f"{{image}}: the server failed ({status}): one two"))
    with pytest.raises(ClientError) as failed:
        client.classify(image)
    assert type(failed.value) is kind
    assert str(failed.value) == text.format(image=image, url=server.url)
    assert failed.value.image == str(image)
    if isinstance(failed.value, ServerFailure):
        assert failed.value.status == status


def test_every_status_of_grpc_is_tested():
    elsewhere = {"OK", "CANCELLED"}  # the second in test_client_retries.py
    assert {status.name for status in grpc.StatusCode} - elsewhere == {*STATUSES, *OTHERS}


def test_what_the_server_finds_invalid_comes_in_its_words(client, tmp_path):
    text = tmp_path / "readme.txt"
    text.write_text("not an image")
    with pytest.raises(RequestRejected) as rejected:
        client.classify(text)
    assert str(rejected.value) == f"{text}: input 'encoded_image': not an image that can be decoded"


def test_an_error_without_a_named_image_is_the_message_alone(client):
    with pytest.raises(RequestRejected) as rejected:
        client.classify(b"not an image")
    assert str(rejected.value) == "input 'encoded_image': not an image that can be decoded"
    assert rejected.value.image is None


def test_nobody_there():
    url = unused_url()
    with Client(url) as client:
        for image in (encoded_picture(1), canonical(1)):
            with pytest.raises(ServerUnreachable) as unreachable:
                client.classify(image)
            assert str(unreachable.value) == UNREACHABLE.format(url=url)


def test_a_name_that_does_not_resolve():
    with Client("no.such.host.invalid:8001") as client, pytest.raises(ServerUnreachable):
        client.classify(encoded_picture(1))


def test_a_server_that_hangs_before_its_first_word_is_unreachable(silent):
    with Client(silent, connect_timeout=0.2) as client, pytest.raises(ServerUnreachable) as unreachable:
        client.classify(encoded_picture(1))
    assert str(unreachable.value) == UNREACHABLE.format(url=silent)


def test_connecting_takes_no_longer_than_a_request_may(silent):
    before = time.monotonic()
    with Client(silent, timeout=0.2, connect_timeout=100) as client, pytest.raises(ServerUnreachable):
        client.classify(encoded_picture(1))
    assert time.monotonic() - before < 100


def test_a_server_that_hangs_is_a_timeout(server):
    server.hold = threading.Event()
    with Client(server.url, timeout=0.2) as client, pytest.raises(ServerTimeout) as late:
        client.classify(encoded_picture(1))
    assert str(late.value) == (
        f"no answer from {server.url} within 0.2 s: raise the timeout, or send fewer requests at a time"
    )


def test_a_restarted_server_is_found_again(server):
    with Client(server.url, retry_for=0) as client:
        _restart(server, client)


def _restart(server, client):
    assert client.classify(encoded_picture(1)).label == 1
    server.stop()
    with pytest.raises(ServerUnreachable):
        client.classify(encoded_picture(1))
    server.start()
    client.wait_until_ready(30)
    assert client.classify(encoded_picture(2)).label == 2


def test_waiting_ends_with_the_last_reason(server, client):
    with Client(unused_url()) as other, pytest.raises(ServerUnreachable):
        other.wait_until_ready(0.2)
    server.ready = False
    with pytest.raises(ServerTimeout) as late:
        client.wait_until_ready(0.2)
    assert str(late.value) == (f"model 'classify' at {server.url} is not ready after 0.2 s: the server's log says why")


def test_waiting_does_not_outlast_its_own_timeout(silent):
    before = time.monotonic()
    with Client(silent, connect_timeout=30) as client, pytest.raises(ServerUnreachable):
        client.wait_until_ready(0.2)
    assert time.monotonic() - before < 30


def test_waiting_ends_when_the_model_becomes_ready(server, client):
    server.ready = False
    waiting = threading.Thread(target=client.wait_until_ready)
    waiting.start()
    server.ready = True
    waiting.join(60)
    assert not waiting.is_alive()


def test_a_closed_client_says_so(server):
    client = Client(server.url)
    client.classify(encoded_picture(1))
    client.close()
    for use in (lambda: client.classify(encoded_picture(1)), client.wait_until_ready):
        with pytest.raises(InvalidRequest, match=r"^this client is closed: make a new one$"):
            use()


def test_closing_ends_a_request_in_flight(server):
    server.hold = threading.Event()
    client = Client(server.url)
    failures = []

    def ask():
        try:
            client.classify(encoded_picture(1))
        except ClientError as failure:
            failures.append(str(failure))

    asking = threading.Thread(target=ask)
    asking.start()
    server.wait_for_requests(1)
    client.close()
    asking.join(60)
    assert failures == ["this client is closed: make a new one"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"url": "http://localhost:8000"},
            "url must be host:port of Triton's gRPC endpoint, such as localhost:8001, not 'http://localhost:8000'",
        ),
        ({"url": ""}, "url must be host:port of Triton's gRPC endpoint, such as localhost:8001, not ''"),
        ({"timeout": 0}, "timeout must be a finite number of seconds above 0, not 0"),
        ({"timeout": float("inf")}, "timeout must be a finite number of seconds above 0, not inf"),
        ({"timeout": None}, "timeout must be a finite number of seconds above 0, not None"),
        ({"retry_for": -1}, "retry_for must be a finite number of seconds 0 or above, not -1"),
        (
            {"connect_timeout": float("nan")},
            "connect_timeout must be a finite number of seconds above 0, not nan",
        ),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(InvalidRequest) as refused:
        Client(**settings)
    assert str(refused.value) == message


def test_errors_cross_processes():
    failure = ServerFailure("out of memory", "INTERNAL")
    failure.image = "cat.png"
    copy = pickle.loads(pickle.dumps(failure))  # noqa: S301  (our own bytes)
    assert (type(copy), str(copy), copy.status) == (ServerFailure, "cat.png: out of memory", "INTERNAL")


def test_another_service_at_the_port_is_no_triton():
    other = grpc.server(ThreadPoolExecutor(1))
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    try:
        with Client(f"127.0.0.1:{port}") as client, pytest.raises(ServerUnreachable):
            client.classify(encoded_picture(1))
    finally:
        other.stop(None).wait()
