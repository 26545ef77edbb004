"""On a GPU: engines are built, Triton loads them, they answer as ONNX Runtime does, and CUDA graphs are captured."""

import shutil
import socket
import subprocess
import time

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc

from littlebig_export.engines import BuildOptions, ensure_engines
from littlebig_export.errors import EngineError
from littlebig_export.exporting import export_pair
from littlebig_export.gpu import find_gpus
from littlebig_export.pair import load_pair
from littlebig_export.tensorrt_api import load_tensorrt

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(1800)]
DEADLINE = 300  # seconds to load the engines, capture the graphs and run the warm-ups


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The default pair with engines built here."""
    try:
        load_tensorrt()
        find_gpus()
    except EngineError as reason:
        pytest.skip(str(reason))
    folder = tmp_path_factory.mktemp("gpu") / "model_repository"
    export_pair(load_pair("efficientnet-lite"), "tensorrt", folder)
    assert ensure_engines(folder) == ("little", "big")
    return folder


@pytest.fixture(scope="module")
def triton(repository):
    """A client of a tritonserver that serves the repository, and the path of its log."""
    binary = shutil.which("tritonserver")
    if binary is None:
        pytest.skip("no tritonserver in PATH with a TensorRT backend; run this in the container")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = repository.parent / "triton.log"
    command = [binary, "--model-repository", str(repository), "--grpc-port", str(port), "--allow-http", "false"]
    with log.open("wb") as output:
        server = subprocess.Popen(
            [*command, "--allow-metrics", "false", "--log-verbose", "1"], stdout=output, stderr=subprocess.STDOUT
        )
        try:
            client = tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}")
            wait_until_ready(server, client, log)
            yield client, log
        finally:
            server.terminate()
            server.wait(60)


def wait_until_ready(server, client, log):
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()[-4000:]
        try:
            if client.is_server_ready():
                return
        except tritonclient.grpc.InferenceServerException:
            time.sleep(0.2)  # between two polls
    pytest.fail(f"not ready after {DEADLINE} s: {log.read_text()[-4000:]}")


def images(count):
    return np.random.default_rng(0).integers(0, 256, (count, 260, 260, 3), np.uint8)


def infer(client, stage, batch):
    tensor = tritonclient.grpc.InferInput("image", batch.shape, "UINT8")
    tensor.set_data_from_numpy(batch)
    response = client.infer(stage, [tensor])
    return {name: response.as_numpy(name) for name in ("label", "confidence", "margin", "probabilities")}


def test_a_second_build_does_nothing(repository):
    assert ensure_engines(repository) == ()


def test_hardware_compatible_engines_differ(repository):
    before = (repository / "little/1/model.plan").read_bytes()
    assert ensure_engines(repository, BuildOptions(hardware_compatible=True)) == ("little", "big")
    assert (repository / "little/1/model.plan").read_bytes() != before
    assert ensure_engines(repository, BuildOptions(hardware_compatible=False)) == ("little", "big")


@pytest.mark.parametrize("stage", ["little", "big"])
@pytest.mark.parametrize("batch", [1, 3, 8, 32])
def test_engines_answer_as_onnx_runtime_does(triton, repository, stage, batch):
    client, _ = triton
    served = infer(client, stage, images(batch))
    session = onnxruntime.InferenceSession(str(repository / stage / "1/model.onnx"), providers=["CPUExecutionProvider"])
    expected = session.run(["confidence", "probabilities"], {"image": images(batch)})
    # The bound is for FP16: the export reports changes of this size on photographs.
    np.testing.assert_allclose(served["confidence"], expected[0], atol=0.03)
    np.testing.assert_allclose(served["probabilities"], expected[1], atol=0.03)


@pytest.mark.parametrize("stage", ["little", "big"])
def test_a_batch_that_a_larger_cuda_graph_serves_is_answered_row_by_row(triton, stage):
    client, _ = triton
    alone = np.concatenate([infer(client, stage, images(5)[row : row + 1])["probabilities"] for row in range(5)])
    np.testing.assert_allclose(infer(client, stage, images(5))["probabilities"], alone, atol=0.03)


@pytest.mark.parametrize(("stage", "sizes"), [("little", (1, 2, 4, 8, 12, 16, 24, 32)), ("big", range(1, 9))])
def test_the_listed_batch_sizes_are_captured_as_cuda_graphs(triton, stage, sizes):
    _, log = triton
    lines = log.read_text().splitlines()
    for size in sizes:
        assert any(
            f"captured CUDA graph for {stage}" in line and line.rstrip().endswith(f"batch size {size}")
            for line in lines
        )
