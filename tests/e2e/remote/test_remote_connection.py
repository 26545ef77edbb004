"""How a remote stage is reached; one that is another, or cannot be reached, is named in one line at load."""

from __future__ import annotations

import re
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
import tritonclient.grpc
from tests.certificates import Authority
from tests.e2e.remote.comparing import Proxy
from tests.e2e.remote.conftest import change, serve, started
from tests.tiny_pair import write_tiny_pair
from tritonclient.utils import InferenceServerException

from littlebig_client import Probe, ProbeFailed
from littlebig_export.config_pbtxt import read_config, write_config
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair

IMAGE = np.zeros((1, 32, 32, 3), np.uint8)
KEY = "triton-grpc-protocol-key"


@pytest.fixture(scope="module")
def big(exported):
    with serve(exported / "big") as server:
        yield server


@pytest.fixture(scope="module")
def loader(exported, tmp_path_factory):
    """load(url, parameters) -> loads the forwarding `big` into a running server; answers an image."""
    folder = tmp_path_factory.mktemp("loader") / "models"
    shutil.copytree(exported / "split", folder)
    arguments = ("--load-model=little",)
    server = serve(folder, model="little", model_control_mode="explicit", open_administration=True, arguments=arguments)
    with server, tritonclient.grpc.InferenceServerClient(server.grpc_url) as triton:

        def load(url, edit=lambda message: None, **parameters):
            shutil.copyfile(exported / "split" / "big" / "config.pbtxt", folder / "big" / "config.pbtxt")
            change(folder / "big" / "config.pbtxt", url=url, **parameters)
            config = read_config(folder / "big" / "config.pbtxt")
            edit(config.message)
            (folder / "big" / "config.pbtxt").write_text(write_config(config))
            triton.load_model("big")
            tensor = tritonclient.grpc.InferInput("image", list(IMAGE.shape), "UINT8").set_data_from_numpy(IMAGE)
            return triton.infer("big", [tensor]).as_numpy("label").shape

        yield load


def refusal(load, *arguments, **parameters):
    with pytest.raises(InferenceServerException) as refused:
        load(*arguments, **parameters)
    # Triton adds where the exception was raised; `littlebig serve` reports the line before.
    message = str(refused.value.message()).partition("\n\nAt:")[0]
    assert "\n" not in message
    return message


def test_the_right_one_is_loaded_and_answers(loader, big):
    assert loader(big.grpc_url) == (1, 1)


def test_a_stage_that_differs_is_refused(loader, big, exported):
    def size(message):
        message.input[0].dims[:] = [48, 48, 3]

    def classes(message):
        next(output for output in message.output if output.name == "probabilities").dims[:] = [7]

    url = big.grpc_url
    served = next((exported / "big").glob("big_*")).name.removeprefix("big_")[:12]
    assert f"big: '{url}' takes images of 32 x 32, this repository's are 48 x 48: export both" in refusal(
        loader, url, size
    )
    assert f"big: '{url}' knows 5 classes, this repository 7: export both for the same pair" in refusal(
        loader, url, classes
    )
    assert (
        f"big: '{url}' serves other weights of big (big {served}) than this repository was exported and calibrated for "
        f"(big {'0' * 12}): export both for the same pair"
    ) in refusal(loader, url, weights_sha256="0" * 64)


def test_a_server_that_does_not_answer_is_refused_only_where_it_is_required(loader):
    assert "big: 'localhost:1' does not answer: " in refusal(loader, "localhost:1", required="true")
    assert "'localhost:1' does not answer: " in refusal(loader, "localhost:1")  # the load succeeds, the image fails


def test_a_name_without_an_address_is_refused_where_it_is_required(loader):
    message = refusal(loader, "nosuch.invalid:8001", required="true")
    assert "big: 'nosuch.invalid:8001' does not answer: its name cannot be looked up: " in message


def test_compressed_images_get_the_same_answers_from_fewer_bytes(loader, big):
    proxy = Proxy(int(big.grpc_url.rpartition(":")[2]))
    try:
        sent = {}
        for compression in ("none", "gzip", "deflate"):
            before = proxy.bytes_sent
            assert loader(f"127.0.0.1:{proxy.port}", compression=compression) == (1, 1)
            sent[compression] = proxy.bytes_sent - before
    finally:
        proxy.close()
    assert sent["none"] - IMAGE.nbytes > 0
    assert max(sent["gzip"], sent["deflate"]) < sent["none"] - IMAGE.nbytes / 2


@pytest.mark.slow
def test_files_that_are_missing_or_wrong_are_refused(loader, big, tmp_path):
    missing, empty = tmp_path / "missing", tmp_path / "empty"
    empty.touch()
    for parameter in ("token_file", "tls_ca"):
        assert f"big: parameter '{parameter}': '{missing}' cannot be read: No such file or directory" in refusal(
            loader, big.grpc_url, **{parameter: str(missing)}
        )
    assert f"big: parameter 'token_file': '{empty}' is not one line of ASCII text" in refusal(
        loader, big.grpc_url, token_file=str(empty)
    )
    assert f"big: parameter 'tls_ca': '{empty}' has no certificate in PEM format" in refusal(
        loader, big.grpc_url, tls_ca=str(empty)
    )
    certificate, key = Authority(tmp_path / "one").sign("client")[0], Authority(tmp_path / "other").sign("client")[1]
    for pair in ((empty, key), (certificate, empty), (certificate, key)):
        assert f"'{pair[0]}' and '{pair[1]}' are not a certificate and its private key in PEM format" in refusal(
            loader, big.grpc_url, tls_cert=str(pair[0]), tls_key=str(pair[1])
        )


def test_probes_of_a_stage_alone(big):
    for probe in ("startup", "ready", "live"):
        with Probe(big.grpc_url, 20.0, only="big") as state:
            getattr(state, probe)()
    with Probe(big.grpc_url, 20.0) as state, pytest.raises(ProbeFailed, match=r"model 'little' at .* is not ready"):
        state.startup()


@contextmanager
def with_tls(repository, authority, days=2):
    certificate, key = authority.sign(f"server{days}", days=days)
    arguments = (
        "--grpc-use-ssl=true",
        f"--grpc-server-cert={certificate}",
        f"--grpc-server-key={key}",
        "--grpc-restricted-protocol=inference:key=secret",
    )
    with started(serve(repository, arguments=arguments)) as (server,):
        yield server


@pytest.mark.slow
def test_tls_and_a_secret_header_from_a_file(loader, exported, tmp_path):
    authority = Authority(tmp_path / "authority")
    authority.ca.write_text(f"# Bundles have comments in any script: ä\n{authority.ca.read_text()}", encoding="utf-8")
    token = tmp_path / "token"
    token.write_text("secret\n")
    with with_tls(exported / "big", authority) as server:
        port = server.grpc_url.rpartition(":")[2]
        given = {"tls_ca": str(authority.ca), "token_file": str(token), "header": KEY}
        assert loader(f"localhost:{port}", **given) == (1, 1)
        token.write_text("another")
        assert "This protocol is restricted" in refusal(loader, f"localhost:{port}", **given)
        assert f"big: 'localhost:{port}' does not answer: " in refusal(loader, f"localhost:{port}", required="true")
        stranger = {**given, "tls_ca": str(Authority(tmp_path / "stranger").ca), "required": "true"}
        assert "CERTIFICATE_VERIFY_FAILED" in refusal(loader, f"127.0.0.1:{port}", **stranger)
        assert "Hostname Verification Check failed" in refusal(
            loader, f"127.0.0.1:{port}", **{**given, "tls_name": "other", "required": "true"}
        )


@pytest.mark.slow
def test_an_expired_certificate_is_named(loader, exported, tmp_path):
    authority = Authority(tmp_path / "authority")
    with with_tls(exported / "big", authority, days=-1) as server:
        url = server.grpc_url
        message = refusal(loader, url, tls_ca=str(authority.ca), required="true")
    assert f"big: '{url}' does not answer: " in message
    assert "certificate has expired" in message


@pytest.mark.slow
def test_a_whole_cascade_is_no_stages_server(loader, tiny_repository):
    with started(serve(tiny_repository)) as (server,):
        message = refusal(loader, server.grpc_url)
    assert re.search(r"serves (other weights of big|'big' in a cascade)", message)


@pytest.mark.slow
def test_a_little_may_be_elsewhere_too(tmp_path):
    pair = load_pair(str(write_tiny_pair(tmp_path)))
    export_pair(pair, "cpu", tmp_path / "little", only="little")
    with started(serve(tmp_path / "little")) as (server,):
        export_pair(pair, "cpu", tmp_path / "rest", remote={"little": {"url": server.grpc_url}})
        with started(serve(tmp_path / "rest")) as (gate,), Probe(gate.grpc_url, 20.0) as probe:
            probe.ready()
