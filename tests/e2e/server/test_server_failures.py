"""Repositories that a real tritonserver cannot serve: one line gives the reason, and nothing is left running."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.server.conftest import regions_of

from littlebig_server import ServerSettings, StartError, TritonServer
from littlebig_server.keeper import group_members

MakeRepository = Callable[..., Path]


def refusal(server: TritonServer) -> str:
    """The one line of a failed start, after which no process and no shared memory is left."""
    with pytest.raises(StartError) as failure:
        server.start()
    assert regions_of(server) == []
    assert group_members(server.pid) == []
    return str(failure.value)


def test_a_model_whose_initialize_raises_is_named_with_its_error(make_repository: MakeRepository) -> None:
    server = TritonServer(make_repository(initialize='raise RuntimeError("weights are missing")'))
    assert refusal(server) == (
        "tritonserver did not start: model 'classify' failed to load: RuntimeError: weights are missing "
        "(model.py(12): initialize); full log: log_tail()"
    )
    assert any("failed to load all models" in line for line in server.log_tail())


def test_a_syntax_error_in_a_config_is_reported_with_its_position(
    make_repository: MakeRepository, tmp_path: Path
) -> None:
    repository = make_repository(config='backend: "python"\nmax_batch_size: eight\n')
    log = tmp_path / "triton.log"
    assert refusal(TritonServer(repository, ServerSettings(log_file=log))) == (
        "tritonserver did not start: model 'classify' failed to load: config.pbtxt 2:17: Expected integer, got: eight; "
        f"full log: {log}"
    )
    assert "failed to load all models" in log.read_text()


def test_a_missing_backend_is_named(make_repository: MakeRepository) -> None:
    assert refusal(TritonServer(make_repository(config='backend: "none_such"\n'))).startswith(
        "tritonserver did not start: model 'classify' failed to load: unable to find backend library for backend 'none_such'"
    )


def test_a_backend_of_nvidias_container_is_missing_with_its_remedy(make_repository: MakeRepository) -> None:
    assert refusal(TritonServer(make_repository(config='backend: "onnxruntime"\n'))) == (
        "tritonserver did not start: model 'classify' failed to load: this tritonserver has no backend 'onnxruntime': "
        "serve in NVIDIA's Triton container, or export with --target cpu or cuda; full log: log_tail()"
    )


def test_a_missing_model_file_is_named_although_triton_waits_for_its_process(make_repository: MakeRepository) -> None:
    repository = make_repository()
    file = repository / "classify" / "1" / "model.py"
    file.unlink()
    assert refusal(TritonServer(repository)) == (
        f"tritonserver did not start: a Python model failed to load: Python model file not found in '{file}'; "
        "full log: log_tail()"
    )


DIES = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize(
    "when",
    [
        pytest.param({"initialize": DIES}, id="initialized"),
        pytest.param({"at_import": DIES}, id="imported", marks=pytest.mark.slow),
    ],
)
def test_a_model_whose_process_dies_while_loading_is_named(make_repository: MakeRepository, when: dict) -> None:
    assert refusal(TritonServer(make_repository(**when))) == (
        "tritonserver did not start: model 'classify' failed to load: the Python process of instance classify_0_0 died "
        "or did not answer for a second; full log: log_tail()"
    )


def test_a_start_that_takes_too_long_names_the_models_still_loading(make_repository: MakeRepository) -> None:
    repository = make_repository(initialize="time.sleep(600)")
    settings = ServerSettings(startup_timeout=2, exit_timeout=0)
    assert refusal(TritonServer(repository, settings, on_log=lambda _: None)) == (
        "tritonserver did not start: not ready after 2 s: still loading classify; full log: above"
    )


def test_a_server_that_answers_without_the_model_is_not_ready(repository: Path) -> None:
    # In control mode `explicit` Triton starts with no model; its repository index lists them.
    settings = ServerSettings(startup_timeout=2, exit_timeout=0, model_control_mode="explicit")
    assert refusal(TritonServer(repository, settings)) == (
        "tritonserver did not start: not ready after 2 s: classify (not loaded); full log: log_tail()"
    )


def test_an_argument_that_triton_does_not_know_is_reported(repository: Path) -> None:
    settings = ServerSettings(arguments=("--no-such-flag=1",))
    assert refusal(TritonServer(repository, settings)).endswith(
        "tritonserver: unrecognized option '--no-such-flag=1'; full log: log_tail()"
    )


def test_a_binary_that_cannot_be_executed_is_named(repository: Path, tmp_path: Path) -> None:
    fake = tmp_path / "tritonserver"
    fake.write_bytes(b"\0")
    fake.chmod(0o755)
    with pytest.raises(StartError) as failure:
        TritonServer(repository, ServerSettings(tritonserver=fake)).start()
    assert str(failure.value) == (
        f"tritonserver did not start: cannot start {fake}: Exec format error; full log: log_tail()"
    )
