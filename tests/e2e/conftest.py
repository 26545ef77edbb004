"""One real tritonserver with the default pair for all end-to-end tests that do not break it."""

import shutil
from pathlib import Path

import pytest
import tritonclient.grpc
from tests.tiny_pair import write_tiny_pair

from littlebig_client import Client
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair
from littlebig_export.provenance import is_current
from littlebig_server import TritonServer

# Kept between runs: an export of the default pair takes half a minute, and is made again when it would differ.
EXPORTED = Path(__file__).parents[2] / "build" / "test" / "model_repository"


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    """The default pair, copied to another place: a rendered repository is complete and knows no paths."""
    if not is_current(EXPORTED, "efficientnet-lite", "cpu"):
        export_pair(load_pair("efficientnet-lite"), "cpu", EXPORTED)
    return shutil.copytree(EXPORTED, tmp_path_factory.mktemp("copied-elsewhere") / "models")


@pytest.fixture(scope="session")
def server(repository):
    with TritonServer(repository) as running:
        yield running


@pytest.fixture
def client(server):
    with Client(server.grpc_url) as connected:
        yield connected


@pytest.fixture
def triton(server):
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as connected:
        yield connected


@pytest.fixture(scope="session")
def tiny_repository(tmp_path_factory):
    """A pair of two tiny bring-your-own ONNX models: loads in a second, for tests that break their server."""
    folder = tmp_path_factory.mktemp("tiny")
    export_pair(load_pair(str(write_tiny_pair(folder))), "cpu", folder / "models")
    return folder / "models"
