"""Repositories that a real tritonserver cannot serve: one line says why, and nothing is left running."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from littlebig_server import ServerSettings, StartError, TritonServer
from littlebig_server.keeper import group_members

MakeRepository = Callable[..., Path]
Regions = Callable[[int], list[str]]


def refusal(server: TritonServer, regions: Regions) -> str:
    """The one line of a failed start, after which no process and no shared memory may be left."""
    with pytest.raises(StartError) as failure:
        server.start()
    assert regions(os.getpid()) == []
    assert group_members(server.pid) == []
    return str(failure.value)


def test_a_model_whose_initialize_raises(make_repository: MakeRepository, regions: Regions) -> None:
    repository = make_repository('raise RuntimeError("weights are missing")')
    server = TritonServer(repository)
    assert refusal(server, regions) == (
        "tritonserver did not start: model 'classify' failed to load: RuntimeError: weights are missing "
        "(model.py(12): initialize); full log: log_tail()"
    )
    assert any("failed to load all models" in line for line in server.log_tail())


def test_a_config_with_a_typing_error(make_repository: MakeRepository, regions: Regions, tmp_path: Path) -> None:
    repository = make_repository(config='backend: "python"\nmax_batch_size: eight\n')
    log = tmp_path / "triton.log"
    assert refusal(TritonServer(repository, ServerSettings(log_file=log)), regions) == (
        "tritonserver did not start: model 'classify' failed to load: config.pbtxt 2:17: Expected integer, got: eight; "
        f"full log: {log}"
    )
    assert "failed to load all models" in log.read_text()


def test_a_backend_that_is_not_there(make_repository: MakeRepository, regions: Regions) -> None:
    repository = make_repository(config='backend: "none_such"\n')
    assert refusal(TritonServer(repository), regions).startswith(
        "tritonserver did not start: model 'classify' failed to load: unable to find backend library for backend 'none_such'"
    )


def test_a_model_without_its_file(make_repository: MakeRepository, regions: Regions) -> None:
    """Triton 24.10 would wait for its process's first message without an end."""
    repository = make_repository()
    file = repository / "classify" / "1" / "model.py"
    file.unlink()
    assert refusal(TritonServer(repository), regions) == (
        f"tritonserver did not start: a Python model failed to load: Python model file not found in '{file}'; "
        "full log: log_tail()"
    )


DIES = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize("when", [{"initialize": DIES}, {"at_import": DIES}], ids=["initialized", "imported"])
def test_a_model_whose_process_dies_when_it_is(make_repository: MakeRepository, regions: Regions, when: dict) -> None:
    assert refusal(TritonServer(make_repository(**when)), regions) == (
        "tritonserver did not start: model 'classify' failed to load: the Python process of instance classify_0_0 died, "
        "or gave no sign of life for a second; full log: log_tail()"
    )


def test_a_model_that_takes_too_long(make_repository: MakeRepository, regions: Regions) -> None:
    repository = make_repository("time.sleep(600)")
    settings = ServerSettings(startup_timeout=3, exit_timeout=0)
    assert refusal(TritonServer(repository, settings, on_log=lambda _: None), regions) == (
        "tritonserver did not start: not ready after 3 s: still loading classify; full log: above"
    )


def test_a_server_that_is_up_without_the_model(repository: Path, regions: Regions) -> None:
    """In control mode `explicit` Triton starts with no model and answers; the repository's index knows the rest."""
    settings = ServerSettings(startup_timeout=3, model_control_mode="explicit")
    assert refusal(TritonServer(repository, settings), regions) == (
        "tritonserver did not start: not ready after 3 s: classify (not loaded); full log: log_tail()"
    )


def test_an_argument_that_triton_does_not_know(repository: Path, regions: Regions) -> None:
    settings = ServerSettings(arguments=("--no-such-flag=1",))
    assert refusal(TritonServer(repository, settings), regions).endswith(
        "tritonserver: unrecognized option '--no-such-flag=1'; full log: log_tail()"
    )


def test_a_binary_that_is_none(repository: Path, tmp_path: Path) -> None:
    fake = tmp_path / "tritonserver"
    fake.write_bytes(b"\0")
    fake.chmod(0o755)
    with pytest.raises(StartError) as failure:
        TritonServer(repository, ServerSettings(tritonserver=fake)).start()
    assert str(failure.value) == (
        f"tritonserver did not start: cannot start {fake}: Exec format error; full log: log_tail()"
    )
