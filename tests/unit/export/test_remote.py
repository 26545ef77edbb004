"""Repositories of a cascade on two servers: one stage alone, and the rest with a stage that forwards."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from littlebig_calibration.errors import CalibrationError
from littlebig_calibration.served import ServedModels
from littlebig_cli.main import littlebig
from littlebig_client import _triton_messages
from littlebig_contract.stages import models_in, stages_computed_in
from littlebig_export import remote
from littlebig_export.applying import apply_calibration
from littlebig_export.config_pbtxt import read_config
from littlebig_export.errors import PairError, RepositoryError
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair
from littlebig_export.provenance import is_current
from littlebig_export.remote_stage.littlebig_remote_settings import BadSetting, RemoteSettings, stage_alias
from littlebig_server import PreflightError
from littlebig_server.preflight import preflight

URL = "big.example:8001"


@pytest.fixture
def split(tiny_pair, tmp_path):
    """Two repositories of a pair: big alone, and the rest."""
    pair = load_pair(str(tiny_pair))
    export_pair(pair, "cpu", tmp_path / "big", only="big")
    export_pair(pair, "cpu", tmp_path / "little", remote={"big": {"url": URL, "tls_ca": "/tls/ca.crt"}})
    return tmp_path / "little", tmp_path / "big"


def provenance(repository):
    return json.loads((repository / "littlebig.json").read_text())


def names(repository):
    return sorted(path.name for path in repository.iterdir())


def test_a_repository_of_one_stage_has_it_and_a_name_for_its_weights(split):
    _, big = split
    weights = provenance(big)["stages"]["big"]["weights"]["sha256"]
    alias = f"big_{weights[:16]}"
    assert names(big) == ["big", alias, "littlebig.json"]
    assert models_in(provenance(big)) == ("big", alias)
    assert stages_computed_in(provenance(big)) == ("big",)
    config = read_config(big / alias / "config.pbtxt").message
    assert [step.model_name for step in config.ensemble_scheduling.step] == ["big"]
    assert list(config.input[0].dims) == [32, 32, 3]
    assert config.parameters["weights_sha256"].string_value == weights


def test_a_remote_stage_has_no_graph_and_the_tensors_of_the_local_one(split):
    little, big = split
    assert not list((little / "big").rglob("*.onnx"))
    remote, local = (read_config(folder / "big" / "config.pbtxt").message for folder in split)
    assert remote.backend == "python"
    assert (list(remote.input), list(remote.output)) == (list(local.input), list(local.output))
    assert not remote.model_warmup
    parameters = {name: value.string_value for name, value in remote.parameters.items()}
    weights = provenance(big)["stages"]["big"]["weights"]["sha256"]
    assert parameters == {
        "model": "big",
        "weights_sha256": weights,
        "url": URL,
        "tls_ca": "/tls/ca.crt",
        "required": "false",
    }
    assert provenance(little)["stages"]["big"]["remote"] == URL
    assert stages_computed_in(provenance(little)) == ("little",)
    assert not list((little / "little_big").glob("littlebig_remote*"))


def test_a_remote_little_is_required(tiny_pair, tmp_path):
    export_pair(load_pair(str(tiny_pair)), "cpu", tmp_path / "out", remote={"little": {"url": URL}})
    parameters = read_config(tmp_path / "out" / "little" / "config.pbtxt").message.parameters
    assert parameters["required"].string_value == "true"


def test_both_pass_the_preflight(split):
    little, big = split
    assert preflight(little, least=0).startswith(f"{little}: threshold 0.6 from pair")
    assert preflight(big, least=0).startswith(f"{big}: big alone, as big_")
    (big / "stray").mkdir()
    with pytest.raises(PreflightError, match=r"'.*stray' is no model"):
        preflight(big, least=0)


def test_neither_counts_as_the_whole_cascade(split, tiny_pair, tmp_path):
    export_pair(load_pair(str(tiny_pair)), "cpu", tmp_path / "whole")
    assert is_current(tmp_path / "whole", "tiny", "cpu")
    assert not any(is_current(repository, "tiny", "cpu") for repository in split)


def test_a_calibration_belongs_to_the_repository_with_the_gate(split):
    with pytest.raises(RepositoryError, match="has one stage alone: apply the calibration where the gate is"):
        apply_calibration(split[1], "{}")


def test_predictions_need_both_graphs(split):
    with pytest.raises(CalibrationError) as refused:
        ServedModels(split[0])
    assert str(refused.value) == (
        f"'{split[0]}' leaves big to the server '{URL}': predict with a repository that has both stages, or ask the "
        "served cascade with 'littlebig predict --url'"
    )


def test_the_command_renders_both(tiny_pair, tmp_path):
    export = ["export", "--pair", str(tiny_pair), "--output"]
    one = CliRunner().invoke(littlebig, [*export, str(tmp_path / "big"), "--only", "big"])
    words = ["--big-url", URL, "--connection", "tls=true", "--connection", "token_file=/run/token"]
    rest = CliRunner().invoke(littlebig, [*export, str(tmp_path / "little"), *words])
    assert (one.exit_code, rest.exit_code) == (0, 0), one.output + rest.output
    parameters = read_config(tmp_path / "little" / "big" / "config.pbtxt").message.parameters
    assert parameters["token_file"].string_value == "/run/token"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--big-url", "big.example"],
            "connection of big: parameter 'url' = 'big.example' is not HOST:PORT or [IPV6]:PORT of a gRPC endpoint, or several "
            "addresses as ipv4:ADDRESS:PORT,ADDRESS:PORT",
        ),
        (
            ["--big-url", "::1:8001"],
            "connection of big: parameter 'url' = '::1:8001' is not HOST:PORT or [IPV6]:PORT of a gRPC endpoint, or several addresses as ipv4:ADDRESS:PORT,ADDRESS:PORT",
        ),
        (
            ["--big-url", "big.example:\u0668\u0660"],
            "connection of big: parameter 'url' = 'big.example:\u0668\u0660' is not HOST:PORT or [IPV6]:PORT of a gRPC endpoint, or several addresses as ipv4:ADDRESS:PORT,ADDRESS:PORT",
        ),
        (
            ["--big-url", URL, "--only", "little"],
            "a repository of little alone calls no other server: leave out --only, or the address",
        ),
        (
            ["--big-url", URL, "--connection", "token_file=/run/token"],
            f"connection of big: parameter 'token_file': its content would travel to {URL} in plain text: set tls=true",
        ),
        (
            ["--big-url", URL, "--connection", "tsl=true"],
            "connection of big: unknown parameter 'tsl'; known are url, required, timeout_ms, tls, tls_ca, tls_cert, "
            "tls_key, tls_name, token_file, header, compression",
        ),
        (
            ["--big-url", URL, "--connection", "tls"],
            "--connection takes NAME=VALUE, such as tls=true, not 'tls'",
        ),
        (
            ["--connection", "tls=true"],
            "--connection says how another server is reached: give --big-url or --little-url too",
        ),
    ],
)
def test_wrong_options_are_refused_in_one_line_before_any_work(tiny_pair, tmp_path, words, message):
    result = CliRunner().invoke(
        littlebig, ["export", "--pair", str(tiny_pair), "--output", str(tmp_path / "o"), *words]
    )
    assert result.exit_code in (1, 2)
    assert result.stderr.splitlines()[-1].removeprefix("littlebig: ").removeprefix("Error: ") == message
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    "url",
    [
        *("a:1", "dns:///a.b:8001", "dns:a:1", "10.0.0.1:1", "dns:[::1]:1"),
        *("ipv4:127.0.0.1:1,127.0.0.2:65535", "[::1]:8001", "[fe80::1%eth0]:1", "ipv6:[::1]:1,[fe80::1]:2"),
    ],
)
def test_targets_of_grpc_are_urls(url):
    assert RemoteSettings.from_parameters({"url": url}).url == url


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "'url' = ''"),
        ({"url": "a:0"}, "'url' = 'a:0'"),
        ({"url": "a:65536"}, "'url' = 'a:65536'"),
        *(
            ({"url": url}, re.escape(f"'url' = '{url}' is not HOST:PORT or [IPV6]:PORT of"))
            for url in ("http://a:1", "a b:1", "::1:8001", "[::1]", "[10.0.0.1]:1", "[a]:1", "a:1,b:1", "dns:a:1,b:1")
        ),
        *(
            ({"url": url}, re.escape(f"'url' = '{url}' is not HOST:PORT"))
            for url in ("ipv4:a:1", "ipv4:127.0.0.1:1,", "ipv4:[::1]:1", "ipv6:::1:1", "ipv6:127.0.0.1:1", "unix:/a:1")
        ),
        ({"compression": "zstd"}, "'compression' = 'zstd' is not one of none, deflate, gzip"),
        ({"timeout_ms": "0"}, "'timeout_ms' = '0' is not milliseconds"),
        ({"timeout_ms": "nan"}, "'timeout_ms' = 'nan' is not milliseconds"),
        ({"required": "yes"}, "'required' = 'yes' is not true or false"),
        ({"tls_cert": "/a"}, "belong together"),
        ({"tls": "false", "tls_ca": "/a"}, "'tls' is false, but a certificate is given"),
        ({"header": "Über"}, "'header' = 'Über'"),
        ({"header": "grpc-x"}, "'header' = 'grpc-x'"),
        ({"token_file": "/a"}, "in plain text"),
    ],
)
def test_wrong_parameters_are_named(parameters, message):
    with pytest.raises(BadSetting, match=message):
        RemoteSettings.from_parameters({"url": "a:1", **parameters} if parameters else {})


def test_a_token_may_travel_in_plain_text_on_this_machine_only():
    for url in ("localhost:1", "127.0.0.1:1", "ipv4:127.0.0.1:1,127.0.0.2:2"):
        assert RemoteSettings.from_parameters({"url": url, "token_file": "/a"}).is_loopback
    with pytest.raises(BadSetting):
        RemoteSettings.from_parameters({"url": "ipv4:127.0.0.1:1,10.0.0.1:1", "token_file": "/a"})


def test_certificates_turn_tls_on():
    assert RemoteSettings.from_parameters({"url": "a:1", "tls_ca": "/a"}).tls
    assert not RemoteSettings.from_parameters({"url": "a:1"}).tls


def test_other_weights_have_another_alias():
    assert stage_alias("big", "0123456789abcdef" * 4) == "big_0123456789abcdef"
    assert stage_alias("big", "1123456789abcdef" * 4) != stage_alias("big", "0123456789abcdef" * 4)


def test_a_wrong_pair_error_is_a_pair_error(tiny_pair, tmp_path):
    with pytest.raises(PairError):
        export_pair(load_pair(str(tiny_pair)), "cpu", tmp_path / "o", remote={"big": {"url": ""}})


def test_a_stopping_server_is_known_by_the_same_words_as_in_the_client():
    source = (Path(remote.__file__).parent / "remote_stage" / "littlebig_remote.py").read_text()
    (words,) = re.findall(r"^_STOPPING = (\(.*\))$", source, re.MULTILINE)
    assert ast.literal_eval(words) == _triton_messages._STOPPING
