"""A tiny model repository, and eyes for what a server leaves behind."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

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

RepositoryMaker = Callable[..., Path]


@pytest.fixture
def make_repository(tmp_path: Path) -> RepositoryMaker:
    """Makes a repository whose model `classify` doubles its input, or does something else while it is loaded."""

    def make(initialize: str = "pass", config: str = CONFIG, at_import: str = "") -> Path:
        model = tmp_path / "models" / "classify"
        (model / "1").mkdir(parents=True)
        (model / "config.pbtxt").write_text(config)
        (model / "1" / "model.py").write_text(MODEL.replace("INITIALIZE", initialize).replace("AT_IMPORT", at_import))
        return model.parent

    return make


@pytest.fixture
def repository(make_repository: RepositoryMaker) -> Path:
    return make_repository()


@pytest.fixture
def regions() -> Callable[[int], list[str]]:
    """Names of the shared memory regions of the servers that a process has started since the test began."""

    def of(pid: int) -> set[str]:
        return {region.name for region in Path("/dev/shm").glob(f"littlebig_{pid}_*")}  # noqa: S108

    others = of(os.getpid())
    return lambda pid: sorted(of(pid) - others)


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], bool]:
    """Whether something becomes true before a generous deadline."""

    def check(condition: Callable[[], bool], timeout: float = 60.0) -> bool:
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    return check
