"""Settings outside their range are refused when they are created."""

from typing import Any

import pytest

import littlebig_server
from littlebig_server import ServerError, ServerSettings, SettingsError, StartError, TritonServer


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"http_port": 65536}, "http_port is 65536: choose 1 to 65535, or 0 for a free one"),
        ({"grpc_port": -1}, "grpc_port is -1: choose 1 to 65535, or 0 for a free one"),
        ({"startup_timeout": 0}, "startup_timeout is 0: choose a number of seconds above 0"),
        ({"startup_timeout": float("nan")}, "startup_timeout is nan: choose a number of seconds above 0"),
        ({"exit_timeout": -1}, "exit_timeout is -1: choose 0 or more"),
        ({"log_verbose": -1}, "log_verbose is -1: choose 0 or more"),
        ({"model_control_mode": "all"}, "model_control_mode is 'all': choose one of none, poll, explicit"),
        (
            {"arguments": ("--http-port=80",)},
            "--http-port is not passed on to tritonserver: use --http-port of littlebig serve",
        ),
        (
            {"arguments": ("--grpc-address", "0.0.0.0")},  # noqa: S104
            "--grpc-address is not passed on to tritonserver: use --host of littlebig serve",
        ),
        (
            {"arguments": ("--grpc-restricted-protocol=health,trace:key=value",)},
            "--grpc-restricted-protocol is not passed on to tritonserver for 'trace': littlebig serve restricts it "
            "already; leave it out, or add --open-admin to set all restrictions yourself",
        ),
        (
            {"arguments": ("--http-restricted-api", "logging:key=value")},
            "--http-restricted-api is not passed on to tritonserver for 'logging': littlebig serve restricts it "
            "already; leave it out, or add --open-admin to set all restrictions yourself",
        ),
        (
            {"arguments": ("--allow-http=false",)},
            "--allow-http is not passed on to tritonserver: HTTP, gRPC and metrics are always on",
        ),
    ],
)
def test_a_value_outside_its_range_is_refused(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as failure:
        ServerSettings(**setting)
    assert str(failure.value) == message


def test_the_default_is_loopback_on_free_ports() -> None:
    settings = ServerSettings()
    assert {settings.host, settings.http_host, settings.metrics_host} == {"127.0.0.1"}
    assert (settings.http_port, settings.grpc_port, settings.metrics_port) == (0, 0, 0)


@pytest.mark.parametrize(
    ("restriction", "setting"),
    [
        ("trace:key=value", {"open_administration": True}),
        ("shared-memory:key=value", {"client_shared_memory": True}),
        ("inference:key=value", {}),
    ],
)
def test_restrictions_of_other_groups_are_passed_on(restriction: str, setting: dict[str, Any]) -> None:
    arguments = (f"--grpc-restricted-protocol={restriction}",)
    assert ServerSettings(arguments=arguments, **setting).arguments == arguments


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (ServerSettings(), ("--model-control-mode=explicit", "--load-model=*")),
        (ServerSettings(model_control_mode="explicit"), ("--model-control-mode=explicit",)),
        (ServerSettings(model_control_mode="poll"), ("--model-control-mode=poll",)),
        (ServerSettings(arguments=("--model-control-mode=poll",)), ()),
        (ServerSettings(arguments=("--model-control-mode=explicit", "--load-model=big")), ()),
        (ServerSettings(arguments=("--load-model=big",)), ("--model-control-mode=explicit",)),
    ],
)
def test_all_models_are_loaded_at_the_start_unless_other_control_is_asked_for(
    settings: ServerSettings, expected: tuple[str, ...]
) -> None:
    assert settings.control_arguments == expected


@pytest.mark.parametrize("name", ["pid", "grpc_url", "http_url", "metrics_url"])
def test_a_server_that_was_not_started_has_no_urls(name: str) -> None:
    with pytest.raises(StartError, match=r"^the server has not been started: "):
        getattr(TritonServer("models"), name)


def test_all_errors_have_one_base_class() -> None:
    errors = [getattr(littlebig_server, name) for name in littlebig_server.__all__ if name.endswith("Error")]
    assert len(errors) == 8
    assert all(issubclass(error, ServerError) for error in errors)
