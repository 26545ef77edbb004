"""Stages on PyTorch instead of engines, for a GPU without TensorRT; here on a CPU, so without CUDA graphs."""

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc
from click.testing import CliRunner
from experiments.stages_on_pytorch.__main__ import main
from tests.tiny_pair import write_tiny_pair

from littlebig_benchmarks.endpoint import Plain
from littlebig_benchmarks.images import crops, photographs
from littlebig_benchmarks.serving import inspect
from littlebig_contract.stages import MODELS
from littlebig_server import TritonServer

pytestmark = pytest.mark.slow

OUTPUTS = ("label", "confidence", "margin", "probabilities")


@pytest.fixture(scope="module")
def on_pytorch(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pytorch") / "models"
    result = CliRunner().invoke(main, ["--repository", str(repository), "--output", str(folder)])
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def served(on_pytorch):
    with TritonServer(on_pytorch) as server, tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        yield client, inspect(Plain(server.grpc_url))


@pytest.mark.parametrize("stage", ["little", "big"])
@pytest.mark.parametrize("batch", [1, 3])
def test_stages_answer_as_the_exported_graphs_do(served, repository, stage, batch):
    client, _ = served
    encoded = tritonclient.grpc.InferInput("encoded_image", [batch, 1], "BYTES")
    encoded.set_data_from_numpy(np.array([[file] for file in crops(photographs(None), batch, 1)], object))
    images = client.infer("preprocess", [encoded]).as_numpy("image")
    tensor = tritonclient.grpc.InferInput("image", images.shape, "UINT8")
    tensor.set_data_from_numpy(images)
    answer = client.infer(stage, [tensor])
    session = onnxruntime.InferenceSession(str(repository / stage / "1/model.onnx"), providers=["CPUExecutionProvider"])
    expected = session.run(OUTPUTS, {"image": images})
    np.testing.assert_array_equal(answer.as_numpy("label"), expected[0])
    for name, values in zip(OUTPUTS[1:], expected[1:], strict=True):
        np.testing.assert_allclose(answer.as_numpy(name), values, atol=1e-5)


def test_gate_gets_answers_from_both_stages(served):
    client, about = served
    assert set(MODELS) <= set(about.models)
    files = crops(photographs(None), 16, 1)
    encoded = tritonclient.grpc.InferInput("encoded_image", [len(files), 1], "BYTES")
    encoded.set_data_from_numpy(np.array([[file] for file in files], object))
    stages = client.infer("classify", [encoded]).as_numpy("stage").ravel()
    assert set(stages) == {0, 1}


def refusal(*words):
    result = CliRunner().invoke(main, list(map(str, words)))
    assert result.exit_code != 0
    return result.output.strip()


def test_wrong_arguments_are_one_line(repository, tiny_repository, tmp_path):
    assert refusal("--repository", repository, "--output", tmp_path) == (
        f"littlebig: '{tmp_path}' exists: remove it, or choose another --output"
    )
    pair = write_tiny_pair(tmp_path)
    assert refusal("--pair", pair, "--repository", repository, "--output", tmp_path / "new") == (
        f"littlebig: '{repository}' is of the pair 'efficientnet-lite', not 'tiny': give --pair"
    )
    assert refusal("--repository", tmp_path, "--output", tmp_path / "new") == (
        f"littlebig: '{tmp_path}' is not a model repository of Little-Big (no littlebig.json): "
        "make one with 'littlebig export --output DIR'"
    )
    assert refusal("--pair", pair, "--repository", tiny_repository, "--output", tmp_path / "new") == (
        "littlebig: little of pair 'tiny' is an ONNX file: only timm's models run on PyTorch"
    )
    assert not (tmp_path / "new").exists()
