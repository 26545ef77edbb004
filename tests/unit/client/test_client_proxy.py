"""Proxies: none for this machine, and named in the message where one is in the way."""

import http.server
import threading

import pytest
from fake_triton import canonical

from littlebig_client import Client, ServerUnreachable
from littlebig_client._target import is_loopback, proxy_variable


@pytest.fixture
def proxy():
    """The address of a proxy that refuses to connect anywhere."""
    refusing = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    refusing.RequestHandlerClass.log_message = lambda *_: None
    threading.Thread(target=refusing.serve_forever, args=(0.02,)).start()
    yield f"http://127.0.0.1:{refusing.server_address[1]}"
    refusing.shutdown()
    refusing.server_close()


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
def test_server_on_this_machine_is_asked_without_the_proxy(server, proxy, monkeypatch, variable):
    monkeypatch.setenv(variable, proxy)
    with Client(server.url) as client:
        assert client.classify(canonical(1)).label == 1


@pytest.mark.parametrize("variable", ["grpc_proxy", "https_proxy", "http_proxy"])
def test_proxy_in_the_way_is_named_by_its_variable_without_its_password(proxy, monkeypatch, variable):
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, proxy.replace("://", "://user:secret@"))
    with Client("triton.invalid:8001") as client, pytest.raises(ServerUnreachable) as failed:
        client.classify(b"picture")
    assert str(failed.value) == (
        "no Triton server answers gRPC at triton.invalid:8001: the proxy refuses to connect "
        f"(through the proxy of the variable {variable}; no_proxy=triton.invalid avoids it)"
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("localhost:8001", True),
        ("127.0.0.1:8001", True),
        ("127.8.9.10:8001", True),
        ("[::1]:8001", True),
        ("unix:/run/triton.sock", True),
        ("dns:///localhost:8001", True),
        ("ipv4:127.0.0.1:8001,127.0.0.1:8002", True),
        ("ipv4:127.0.0.1:8001,10.0.0.1:8002", False),
        ("triton:8001", False),
        ("localhost.example:8001", False),
    ],
)
def test_loopback_is_recognised(url, expected):
    assert is_loopback(url) is expected


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"http_proxy": "http://p:1"}, "http_proxy"),
        ({"http_proxy": "http://p:1", "grpc_proxy": "http://q:1"}, "grpc_proxy"),
        ({"http_proxy": ""}, None),
        ({"HTTP_PROXY": "http://p:1"}, None),
        ({"http_proxy": "http://p:1", "no_proxy": "other, .example"}, None),
        ({"http_proxy": "http://p:1", "no_proxy": "other"}, "http_proxy"),
        ({"http_proxy": "http://p:1", "no_proxy": "triton.example", "no_grpc_proxy": "other"}, "http_proxy"),
    ],
)
def test_proxy_is_the_one_that_grpc_chooses(environment, expected):
    assert proxy_variable("triton.example:8001", environment) == expected


def test_range_of_addresses_is_exempt():
    assert proxy_variable("10.1.2.3:8001", {"http_proxy": "http://p:1", "no_proxy": "10.0.0.0/8"}) is None
