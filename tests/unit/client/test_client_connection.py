"""TLS, tokens, metadata and compression, from arguments and environment, and the refusals in one line."""

import contextlib
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from fake_triton import canonical
from tests.certificates import Authority

from littlebig_client import Client, InvalidRequest, ServerUnreachable, Tls, connection


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in os.environ:
        if name.startswith("LITTLEBIG_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def listen():
    """Start a gRPC server with a certificate, and return its url."""
    servers = []

    def start(certificate, key):
        server = grpc.server(ThreadPoolExecutor(2))
        pair = (key.read_bytes(), certificate.read_bytes())
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
        server.start()
        servers.append(server)
        return f"localhost:{port}"

    yield start
    for server in servers:
        server.stop(None).wait()


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"days": -1}, "its certificate has expired: renew it"),
        (
            {"alternatives": "DNS:elsewhere.example"},
            "its certificate is for another name: use that name in the url, or as TLS name",
        ),
    ],
    ids=["expired", "name"],
)
def test_bad_certificate_is_refused_in_one_line(authority, listen, settings, cause):
    url = listen(*authority.sign("bad", **settings))
    with Client(url, tls=Tls(authority.ca)) as client, pytest.raises(ServerUnreachable) as refused:
        client.classify(canonical(1))
    assert str(refused.value) == f"no Triton server answers gRPC at {url}: {cause}"


def test_name_of_the_certificate_may_be_given(authority, listen):
    url = listen(*authority.sign("named", alternatives="DNS:elsewhere.example"))
    tls = Tls(authority.ca, name="elsewhere.example")
    # The connection succeeds; the service there is another one.
    with Client(url, tls=tls) as client, pytest.raises(ServerUnreachable, match="another service answers there"):
        client.classify(canonical(1))


def test_server_without_tls_is_called_one(server):
    with Client(server.url, tls=True) as client, pytest.raises(ServerUnreachable) as refused:
        client.classify(canonical(1))
    assert str(refused.value) == (
        f"no Triton server answers gRPC at {server.url}: it has no TLS: turn TLS off, or use its TLS port"
    )


def test_token_and_metadata_reach_every_call(server):
    with Client(server.url, token="abc", metadata={"x-team": "a"}) as client:  # noqa: S106
        client.classify(canonical(1), metadata={"x-request": "7"})
        client.classify(canonical(1))
        client.score()
    own = {("authorization", "Bearer abc"), ("x-team", "a")}
    assert {method: own <= metadata for method, metadata in server.metadata} == {
        "ServerLive": True,
        "ModelMetadata": True,
        "ModelInfer": True,
        "ModelConfig": True,
    }
    asked = [metadata for method, metadata in server.metadata if method == "ModelInfer"]
    assert [("x-request", "7") in metadata for metadata in asked] == [True, False]


@pytest.fixture
def relay(server):
    """The url of a relay to the server, and the list of the sizes that clients sent through it."""
    sizes: list[int] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket, sizes: list[int]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sizes.append(len(data))
                sink.sendall(data)

    def accept() -> None:
        client, _ = listening.accept()
        behind = socket.create_connection(("127.0.0.1", server.port))
        back = threading.Thread(target=pump, args=(behind, client, []))
        back.start()
        pump(client, behind, sizes)
        behind.shutdown(socket.SHUT_RDWR)
        back.join()
        client.close()
        behind.close()

    accepting = threading.Thread(target=accept)
    accepting.start()
    yield f"127.0.0.1:{listening.getsockname()[1]}", sizes
    accepting.join(60)
    listening.close()


@pytest.mark.parametrize("compression", ["gzip", "deflate", None])
def test_compression_shortens_what_is_sent(server, relay, compression):
    url, sizes = relay
    server.shape = (200, 200, 3)
    with Client(url, compression=compression) as client:
        assert client.classify(np.full((200, 200, 3), 16, np.uint8)).label == 1
    assert (sum(sizes) < 20_000) is (compression is not None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"compression": "zstd"}, "compression must be one of gzip, deflate, not 'zstd'"),
        ({"metadata": {"X": "a"}}, "metadata 'X' is not a name of lower-case letters, digits, '_', '-' and '.'"),
        (
            {"metadata": {"a-bin": "a"}},
            "metadata 'a-bin' is not a name of lower-case letters, digits, '_', '-' and '.'",
        ),
        ({"metadata": {"a": "b\nc"}}, "the value of metadata 'a' is not printable ASCII text"),
        ({"token": "a\nb"}, "the value of metadata 'authorization' is not printable ASCII text"),
        (
            {"url": "triton:8001", "token": "a"},
            "a token would travel to triton:8001 in plain text: turn on TLS, or, where something else encrypts the "
            "connection, pass it as metadata 'authorization'",
        ),
        ({"tls": Tls(ca="missing.pem")}, "the authority 'missing.pem' cannot be read: No such file or directory"),
        (
            {"tls": Tls(certificate="a.pem")},
            "a client certificate needs its private key, and the key its certificate: give both",
        ),
    ],
    ids=str,
)
def test_wrong_setting_is_refused_at_once(settings, message):
    with pytest.raises(InvalidRequest) as refused:
        Client(**settings)
    assert str(refused.value) == message


def test_files_of_the_wrong_kind_are_named(authority, tmp_path):
    certificate, key = authority.sign("one")
    other_key = authority.sign("two")[1]
    junk = tmp_path / "junk.pem"
    junk.write_bytes(b"\xffjunk")
    for tls, message in [
        (Tls(ca=junk), f"the authority '{junk}' is not a PEM file of certificates"),
        (
            Tls(certificate=certificate, key=other_key),
            f"'{certificate}' and '{other_key}' are not a certificate and its private key, unencrypted, in PEM",
        ),
        (
            Tls(certificate=junk, key=key),
            f"'{junk}' and '{key}' are not a certificate and its private key, unencrypted, in PEM",
        ),
    ]:
        with pytest.raises(InvalidRequest) as refused:
            Client(tls=tls)
        assert str(refused.value) == message


def test_settings_come_from_the_environment_unless_they_are_given(authority):
    environment = {
        "LITTLEBIG_URL": "triton:9001",
        "LITTLEBIG_TLS_CA": str(authority.ca),
        "LITTLEBIG_TLS_NAME": "elsewhere",
        "LITTLEBIG_TOKEN": "abc",
        "LITTLEBIG_METADATA": "x-team=a, x-app=b=c",
        "LITTLEBIG_COMPRESSION": "gzip",
    }
    way = connection(environment=environment)
    assert (way.url, way.tls, way.compression) == ("triton:9001", Tls(str(authority.ca), name="elsewhere"), "gzip")
    assert dict(way.metadata) == {"x-team": "a", "x-app": "b=c", "authorization": "Bearer abc"}
    given = connection("localhost:1", tls=False, token="x", metadata={}, compression="deflate", environment=environment)  # noqa: S106
    assert (given.url, given.tls, given.compression) == ("localhost:1", None, "deflate")
    assert dict(given.metadata) == {"authorization": "Bearer x"}
    assert connection(environment={**environment, "LITTLEBIG_TLS": "0", "LITTLEBIG_TOKEN": ""}).tls is None
    assert connection(environment={"LITTLEBIG_TLS": "1"}).tls == Tls()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"LITTLEBIG_TLS": "yes"}, "LITTLEBIG_TLS must be 1 or 0, not 'yes'"),
        ({"LITTLEBIG_METADATA": "a"}, "LITTLEBIG_METADATA must be name=value,name=value: 'a' has no value"),
    ],
    ids=str,
)
def test_wrong_variable_is_named(environment, message):
    with pytest.raises(InvalidRequest) as refused:
        connection(environment=environment)
    assert str(refused.value) == message


def test_server_that_keeps_its_shared_memory_closed_is_refused_in_one_line(server):
    with Client(server.url, shared_memory=True) as client, pytest.raises(InvalidRequest) as refused:
        client.classify(canonical(1))
    assert str(refused.value) == (
        f"the server at {server.url} does not let clients register shared memory: start it with "
        "'littlebig serve --client-shared-memory', or leave shared_memory out"
    )


@pytest.mark.parametrize("url", ["triton:8001", "ipv4:127.0.0.1:8001,127.0.0.1:8002"])
def test_shared_memory_with_a_server_elsewhere_is_refused(url):
    with pytest.raises(InvalidRequest) as refused:
        Client(url, shared_memory=True)
    assert str(refused.value) == f"shared memory needs a server on this machine, such as localhost:8001, not {url}"
