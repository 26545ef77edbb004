"""A model repository with one tiny model, and helpers that find what a server leaves behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from littlebig_server import ServerSettings, TritonServer

CONFIG = """
backend: "python"
max_batch_size: 8
input [{ name: "X" data_type: TYPE_FP32 dims: [ 4 ] }]
output [{ name: "Y" data_type: TYPE_FP32 dims: [ 4 ] }]
instance_group [{ kind: KIND_CPU count: 1 }]
"""

MODEL = """
import os
import signal
import time

import triton_python_backend_utils as pb_utils

AT_IMPORT

class TritonPythonModel:
    def initialize(self, args):
        INITIALIZE

    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(request, "X").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("Y", 2 * values)]) for values in inputs]
"""

MakeRepository = Callable[..., Path]
# Ends a server at once where the test is not about its stop: a clean stop takes three seconds more.
QUICK_STOP = ServerSettings(exit_timeout=0)


def write_repository(folder: Path, initialize: str = "pass", config: str = CONFIG, at_import: str = "") -> Path:
    """A repository whose model `classify` doubles its input; the arguments change how it loads."""
    model = folder / "models" / "classify"
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text(config)
    (model / "1" / "model.py").write_text(MODEL.replace("INITIALIZE", initialize).replace("AT_IMPORT", at_import))
    return model.parent


def regions(prefix: str) -> list[str]:
    """Names of shared memory regions that begin with a prefix."""
    return sorted(region.name for region in Path("/dev/shm").glob(f"{prefix}*"))  # noqa: S108


def regions_of(server: TritonServer) -> list[str]:
    """Names of a server's own shared memory regions."""
    assert server._process is not None
    return regions(server._process.shared_memory)


def eventually(condition: Callable[[], bool], timeout: float = 60.0) -> bool:
    """Whether a condition becomes true before a generous deadline."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture
def make_repository(tmp_path: Path) -> MakeRepository:
    """make_repository(...) -> a repository in the test's own folder; see `write_repository`."""
    return lambda **options: write_repository(tmp_path, **options)


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One repository for all tests that only serve it."""
    return write_repository(tmp_path_factory.mktemp("doubling"))


@pytest.fixture(scope="module")
def running(repository: Path) -> Iterator[TritonServer]:
    """One server per module for tests that leave it as it is."""
    with TritonServer(repository, QUICK_STOP) as server:
        yield server
