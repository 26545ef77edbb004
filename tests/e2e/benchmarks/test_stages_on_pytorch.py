"""The stages that stand in for engines on a GPU without TensorRT; here on a CPU, so without CUDA graphs."""

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc
from click.testing import CliRunner
from tests.tiny_pair import write_tiny_pair

from littlebig_benchmarks.images import crops, photographs
from littlebig_benchmarks.serving import look_at
from littlebig_benchmarks.stages_on_pytorch.__main__ import main
from littlebig_server import TritonServer

OUTPUTS = ("label", "confidence", "margin", "probabilities")


@pytest.fixture(scope="module")
def on_pytorch(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pytorch") / "models"
    told = CliRunner().invoke(main, ["--repository", str(repository), "--output", str(folder)])
    assert told.exit_code == 0, told.output
    return folder


@pytest.fixture(scope="module")
def served(on_pytorch):
    with TritonServer(on_pytorch) as server, tritonclient.grpc.InferenceServerClient(server.grpc_url) as client:
        yield client, look_at(server.grpc_url)


@pytest.mark.parametrize("stage", ["little", "big"])
@pytest.mark.parametrize("batch", [1, 3])
def test_they_answer_as_the_exported_graphs_do(served, repository, stage, batch):
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


def test_the_gate_finds_its_stages_and_keeps_its_threshold(served, repository):
    client, found = served
    assert {"little", "big", "little_big", "preprocess", "classify"} <= set(found.models)
    # Both kinds of outcome: the answers of one batch come from little and from big.
    files = crops(photographs(None), 16, 1)
    encoded = tritonclient.grpc.InferInput("encoded_image", [len(files), 1], "BYTES")
    encoded.set_data_from_numpy(np.array([[file] for file in files], object))
    stages = client.infer("classify", [encoded]).as_numpy("stage").ravel()
    assert set(stages) == {0, 1}


def refusal(*words):
    told = CliRunner().invoke(main, list(map(str, words)))
    assert told.exit_code != 0
    return told.output.strip()


def test_what_cannot_be_written_is_refused(repository, tiny_repository, tmp_path):
    assert refusal("--repository", repository, "--output", tmp_path) == (
        f"littlebig: '{tmp_path}' exists: remove it, or choose another --output"
    )
    pair = write_tiny_pair(tmp_path)
    assert refusal("--pair", pair, "--repository", repository, "--output", tmp_path / "new") == (
        f"littlebig: '{repository}' is of the pair 'efficientnet-lite', not 'tiny': give that"
    )
    assert refusal("--repository", tmp_path, "--output", tmp_path / "new") == (
        f"littlebig: '{tmp_path}' is not a model repository of Little-Big (no littlebig.json)"
    )
    assert refusal("--pair", pair, "--repository", tiny_repository, "--output", tmp_path / "new") == (
        "littlebig: little of pair 'tiny' is an ONNX file: only timm's models run on PyTorch"
    )
    assert not (tmp_path / "new").exists()
