"""A real tritonserver with TLS and client certificates: who is answered, and the refusals in one line."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tests.certificates import Authority
from tests.perf_analyzer import perf_analyzer

from littlebig_benchmarks import images, load
from littlebig_benchmarks.serving import inspect
from littlebig_cli.main import littlebig
from littlebig_client import AsyncClient, Client, ServerUnreachable, Tls, connection
from littlebig_server import ServerSettings, TritonServer

IMAGE = np.zeros((32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def own(authority):
    """The client's certificate and key."""
    return authority.sign("client", alternatives="DNS:client")


@pytest.fixture(scope="module")
def served(tiny_repository, authority):
    certificate, key = authority.sign("server")
    arguments = (
        "--grpc-use-ssl=true",
        "--grpc-use-ssl-mutual=true",
        f"--grpc-server-cert={certificate}",
        f"--grpc-server-key={key}",
        f"--grpc-root-cert={authority.ca}",
    )
    with TritonServer(tiny_repository, ServerSettings(exit_timeout=0, arguments=arguments)) as server:
        yield server.grpc_url


def test_client_with_the_authority_and_a_certificate_is_answered(served, authority, own):
    tls = Tls(authority.ca, *own)
    with Client(served, tls=tls, token="secret", metadata={"x-team": "a"}) as client:  # noqa: S106
        expected = client.classify(IMAGE)

    async def ask():
        async with AsyncClient(served, tls=tls) as client:
            return await client.classify(IMAGE)

    assert asyncio.run(ask()) == expected


def test_commands_take_the_same_from_options_and_environment(served, authority, own, tmp_path, monkeypatch):
    picture = tmp_path / "pictures" / "a.png"
    picture.parent.mkdir()
    Image.fromarray(IMAGE).save(picture)
    labels = tmp_path / "labels.csv"
    labels.write_text("file,label\na.png,0\n")
    predict = ["predict", "--data", str(picture.parent), "--labels", str(labels), "--output"]
    options = ["--url", served, "--tls-ca", str(authority.ca), "--tls-cert", str(own[0]), "--tls-key", str(own[1])]
    for words in (["classify", str(picture)], ["probe", "ready"], [*predict, str(tmp_path / "one.csv")]):
        done = CliRunner().invoke(littlebig, [*words, *options])
        assert done.exit_code == 0, done.output
    for option, value in zip(options[::2], options[1::2], strict=True):
        monkeypatch.setenv("LITTLEBIG_" + option.removeprefix("--").replace("-", "_").upper(), value)
    for words in (["classify", str(picture)], ["probe", "ready"], [*predict, str(tmp_path / "two.csv"), *options[:2]]):
        done = CliRunner().invoke(littlebig, words)
        assert done.exit_code == 0, done.output


def test_benchmarks_measure_it_with_the_same_options(served, authority, own):
    endpoint = connection(served, tls=Tls(authority.ca, *own))
    pictures = images.look_through(inspect(endpoint), images.crops(images.photographs(None), 4, seed=0))
    mix = images.Mix(np.arange(4), pictures.unsure)
    assert load.run(endpoint, load.Load("little_big", 30.0, 2, requests=8), pictures, mix).images == 8


@pytest.mark.slow
def test_bench_and_plan_take_the_same_options(served, authority, own, tmp_path, monkeypatch):
    monkeypatch.setattr(images, "CANDIDATES", 40)
    monkeypatch.setattr("littlebig_benchmarks.perf_analyzer.MAX_WAIT_S", 15.0)
    options = ["--url", served, "--tls-ca", authority.ca, "--tls-cert", own[0], "--tls-key", own[1], "--token", "a"]
    quick = ["--rounds", 1, "--seconds", 0.3, "--concurrency", 4, "--max-other-load", 0.99, "--output", tmp_path]
    for words in (
        ["bench", "--perf-analyzer", perf_analyzer(), "--only", "throughput", *quick],
        ["plan", "--measure", "--device", "a test", "--pair", "tiny", "--curves", tmp_path / "curves.json"],
    ):
        done = CliRunner().invoke(littlebig, [str(word) for word in (*words, *options)])
        assert done.exit_code == 0, done.output


def test_client_without_a_certificate_is_refused_in_one_line(served, authority):
    with Client(served, tls=Tls(authority.ca)) as client, pytest.raises(ServerUnreachable) as refused:
        client.classify(IMAGE)
    assert str(refused.value) == (
        f"no Triton server answers gRPC at {served}: it closes the connection: "
        "if it asks clients for a certificate, give one and its key"
    )


def test_client_without_tls_is_refused_in_one_line(served):
    with Client(served) as client, pytest.raises(ServerUnreachable) as refused:
        client.classify(IMAGE)
    assert str(refused.value) == (
        f"no Triton server answers gRPC at {served}: it closes the connection: if it has TLS, turn TLS on"
    )


def test_server_of_another_authority_is_refused_in_one_line(served, own, tmp_path):
    other = Authority(tmp_path / "other")
    with Client(served, tls=Tls(other.ca, *own)) as client, pytest.raises(ServerUnreachable) as refused:
        client.classify(IMAGE)
    assert str(refused.value) == (
        f"no Triton server answers gRPC at {served}: its certificate is not signed by a known authority: "
        "give the one that signed it"
    )
