"""Failures of the server and the errors that the client raises."""

import http.server
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
    "no Triton server answers gRPC at {url}: "
    "nothing listens there: is it running (littlebig serve), and is this its gRPC port?"
)
SILENT = (
    "no Triton server answers gRPC at {url}: it does not respond within 0.2 s: the host is down, or the server hangs"
)


@pytest.fixture
def silent():
    """The url of a listening socket that never responds."""
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
    "NOT_FOUND": (ModelNotServed, "the Triton server at {url} does not serve a Little-Big repository: one two"),
}
OTHERS = sorted({status.name for status in grpc.StatusCode} - {"OK", "CANCELLED", *STATUSES})


@pytest.mark.parametrize("status", [*STATUSES, *OTHERS])
def test_each_grpc_status_becomes_its_error_in_one_line(server, tmp_path, status):
    image = tmp_path / "cat.png"
    image.write_bytes(encoded_picture(1))
    server.fail_with = (grpc.StatusCode[status], "one\n  two")
    kind, text = STATUSES.get(status, (ServerFailure, f"{{image}}: the server failed ({status}): one two"))
    with Client(server.url, retry_for=0) as client, pytest.raises(ClientError) as failed:
        client.classify(image)
    assert type(failed.value) is kind
    assert str(failed.value) == text.format(image=image, url=server.url)
    assert failed.value.image == str(image)
    if isinstance(failed.value, ServerFailure):
        assert failed.value.status == status


def test_error_of_an_unnamed_image_is_the_message_alone(client):
    with pytest.raises(RequestRejected) as rejected:
        client.classify(b"not an image")
    assert str(rejected.value) == "input 'encoded_image': not an image that can be decoded"
    assert rejected.value.image is None


def test_no_server_raises_server_unreachable():
    url = unused_url()
    with Client(url) as client:
        for image in (encoded_picture(1), canonical(1)):
            with pytest.raises(ServerUnreachable) as unreachable:
                client.classify(image)
            assert str(unreachable.value) == UNREACHABLE.format(url=url)


def test_unknown_host_is_called_one():
    with Client("no.such.host.invalid:8001") as client, pytest.raises(ServerUnreachable) as unreachable:
        client.classify(encoded_picture(1))
    assert str(unreachable.value) == (
        "no Triton server answers gRPC at no.such.host.invalid:8001: its host name is unknown: check the url"
    )


def test_http_port_is_called_one():
    web = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    web.RequestHandlerClass.log_message = lambda *_: None
    threading.Thread(target=web.serve_forever, args=(0.02,)).start()
    url = f"127.0.0.1:{web.server_address[1]}"
    try:
        with Client(url) as client, pytest.raises(ServerUnreachable) as unreachable:
            client.classify(encoded_picture(1))
    finally:
        web.shutdown()
        web.server_close()
    assert str(unreachable.value) == (
        f"no Triton server answers gRPC at {url}: it answers HTTP: use Triton's gRPC port, 8001 by default"
    )


def test_server_that_never_responds_is_unreachable(silent):
    with Client(silent, connect_timeout=0.2) as client, pytest.raises(ServerUnreachable) as unreachable:
        client.classify(encoded_picture(1))
    assert str(unreachable.value) == SILENT.format(url=silent)


def test_connecting_is_limited_by_the_request_timeout(silent):
    before = time.monotonic()
    with Client(silent, timeout=0.2, connect_timeout=100) as client, pytest.raises(ServerUnreachable):
        client.classify(encoded_picture(1))
    assert time.monotonic() - before < 100


def test_hanging_server_raises_server_timeout(server):
    server.hold = threading.Event()
    with Client(server.url, timeout=0.2) as client, pytest.raises(ServerTimeout) as late:
        client.classify(encoded_picture(1))
    assert str(late.value) == (
        f"no answer from {server.url} within 0.2 s: raise the timeout, or send fewer requests at a time"
    )


def test_client_reconnects_to_a_restarted_server(server):
    with Client(server.url, retry_for=0) as client:
        assert client.classify(encoded_picture(1)).label == 1
        server.stop()
        with pytest.raises(ServerUnreachable):
            client.classify(encoded_picture(1))
        server.start()
        client.wait_until_ready(30)
        assert client.classify(encoded_picture(2)).label == 2


def test_wait_until_ready_raises_the_last_reason(server, client):
    with Client(unused_url()) as other, pytest.raises(ServerUnreachable):
        other.wait_until_ready(0.2)
    server.ready = False
    with pytest.raises(ServerTimeout) as late:
        client.wait_until_ready(0.2)
    assert str(late.value) == (f"model 'classify' at {server.url} is not ready after 0.2 s: the server's log says why")


def test_wait_until_ready_keeps_its_timeout(silent):
    before = time.monotonic()
    with Client(silent, connect_timeout=30) as client, pytest.raises(ServerUnreachable):
        client.wait_until_ready(0.2)
    assert time.monotonic() - before < 30


def test_wait_until_ready_returns_when_the_model_is_ready(server, client):
    server.ready = False
    waiting = threading.Thread(target=client.wait_until_ready)
    waiting.start()
    server.ready = True
    waiting.join(60)
    assert not waiting.is_alive()


def test_closed_client_raises_invalid_request(server):
    client = Client(server.url)
    client.classify(encoded_picture(1))
    client.close()
    for use in (lambda: client.classify(encoded_picture(1)), client.wait_until_ready):
        with pytest.raises(InvalidRequest, match=r"^this client is closed: make a new one$"):
            use()


def test_close_ends_requests_in_flight(server):
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
        ({"timeout": 0}, "timeout must be a finite number of seconds above 0, not 0"),
        ({"timeout": float("inf")}, "timeout must be a finite number of seconds above 0, not inf"),
        ({"timeout": None}, "timeout must be a finite number of seconds above 0, not None"),
        ({"retry_for": -1}, "retry_for must be a finite number of seconds 0 or above, not -1"),
        ({"connect_timeout": float("nan")}, "connect_timeout must be a finite number of seconds above 0, not nan"),
    ],
)
def test_invalid_setting_is_refused(settings, message):
    with pytest.raises(InvalidRequest) as refused:
        Client(**settings)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://localhost:8000",
        "grpc://localhost:8001",
        "localhost",
        "localhost:",
        "localhost:abc",
        "localhost:0",
        "localhost:99999",
        "localhost:\N{ARABIC-INDIC DIGIT ONE}",
        ":8001",
        "::1:8001",
        "user@localhost:8001",
        "localhost:8001/v2",
        "local host:8001",
        "localhost:8001\x1b[31m",
        "dns:///localhost",
        "ipv4:127.0.0.1",
        "unix:",
        8001,
    ],
)
def test_malformed_url_is_called_one(url):
    with pytest.raises(InvalidRequest) as refused:
        Client(url)
    message = "url must be host:port of Triton's gRPC endpoint, such as localhost:8001, not "
    assert str(refused.value) == f"{message}{url!r}"


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8001",
        "triton.example:8001",
        "[::1]:8001",
        "dns:///triton:8001",
        "dns://1.1.1.1/triton:8001",
        "dns:triton:8001",
        "ipv4:127.0.0.1:8001,127.0.0.1:8002",
        "ipv6:[::1]:8001",
        "unix:/run/triton.sock",
        "unix:///run/triton.sock",
    ],
)
def test_grpc_target_is_accepted(url):
    Client(url).close()


def test_text_from_outside_is_one_printable_line():
    failure = RequestRejected("no\n\x1b[31mfile\u202e" + "x" * 2000)
    failure.image = "a\nb\x07.png"
    text = str(failure)
    assert text.startswith("a\\nb\\x07.png: no \\x1b[31mfile\\u202exxx")
    assert text.isprintable()
    assert len(text) < 1100
    assert failure.image == "a\nb\x07.png"


def test_errors_can_be_pickled():
    failure = ServerFailure("out of memory", "INTERNAL")
    failure.image = "cat.png"
    copy = pickle.loads(pickle.dumps(failure))  # noqa: S301  (pickled in this line)
    assert (type(copy), str(copy), copy.status) == (ServerFailure, "cat.png: out of memory", "INTERNAL")


def test_other_grpc_service_is_unreachable():
    other = grpc.server(ThreadPoolExecutor(1))
    port = other.add_insecure_port("127.0.0.1:0")
    other.start()
    try:
        with Client(f"127.0.0.1:{port}") as client, pytest.raises(ServerUnreachable, match="another service answers"):
            client.classify(encoded_picture(1))
    finally:
        other.stop(None).wait()
