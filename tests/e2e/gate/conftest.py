"""Starts the gate between its puppets."""

import queue
import shutil
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from tests.e2e.gate.puppets import Puppets
from tritonclient import grpc

from littlebig_export.config_pbtxt import read_config, set_parameter, write_config
from littlebig_server import ServerSettings, TritonServer


@contextmanager
def serve_puppets(repository, folder, gate_instances=1, big_instances=1, **parameters):
    """A copy of a repository in a new folder: the gate with these settings, one instance of each stage, puppets both."""
    shutil.copytree(repository, folder)
    for model in ("little", "big", "little_big"):
        config = read_config(folder / model / "config.pbtxt")
        config.message.instance_group[0].count = {"little_big": gate_instances, "big": big_instances}.get(model, 1)
        for name, value in parameters.items() if model == "little_big" else ():
            set_parameter(config.message, name, value)
        (folder / model / "config.pbtxt").write_text(write_config(config))
    for stage in ("little", "big"):
        shutil.copyfile(Path(__file__).with_name("puppet_stage.py"), folder / stage / "1" / "model.py")
    # Killed at the end, which saves three seconds a test: unloading is tried in tests/e2e/server.
    settings = ServerSettings(
        model="little_big", model_control_mode="explicit", exit_timeout=0, arguments=("--load-model=*",)
    )
    with TritonServer(folder, settings) as server, grpc.InferenceServerClient(server.grpc_url) as triton:
        yield Puppets(folder, server, triton)


@pytest.fixture
def puppets(tiny_repository, tmp_path):
    """puppets(parameters) -> context manager of Puppets."""
    return partial(serve_puppets, tiny_repository, tmp_path / "models")


@pytest.fixture
def answers():
    """Where a test collects what its callers were told."""
    return queue.Queue()
