"""One real tritonserver with the default pair for all end-to-end tests that do not break it."""

import shutil

import pytest
import tritonclient.grpc
from tests.default_pair import exported_default_pair, exported_tiny_pair

from littlebig_client import Client
from littlebig_server import TritonServer


@pytest.fixture(scope="session")
def repository(tmp_path_factory):
    """The default pair, copied to another place: a rendered repository is complete and knows no paths."""
    return shutil.copytree(exported_default_pair(), tmp_path_factory.mktemp("copied-elsewhere") / "models")


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
    folder = shutil.copytree(exported_tiny_pair().parent, tmp_path_factory.mktemp("copied") / "tiny")
    return folder / "models"
