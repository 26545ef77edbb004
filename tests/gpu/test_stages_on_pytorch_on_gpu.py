"""Stages on PyTorch with CUDA graphs: batches of every size, in any order, are answered row by row."""

import io

import numpy as np
import onnxruntime
import pytest
import torch
import tritonclient.grpc
from click.testing import CliRunner
from experiments.stages_on_pytorch.__main__ import main
from PIL import Image

from littlebig_benchmarks.images import crops, photographs
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair
from littlebig_server import ServerSettings, TritonServer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch can use"),
]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "models"
    export_pair(load_pair("efficientnet-lite"), "tensorrt", folder, precision="fp32")
    return folder


@pytest.fixture(scope="module")
def client(exported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pytorch") / "models"
    result = CliRunner().invoke(main, ["--repository", str(exported), "--output", str(folder)])
    assert result.exit_code == 0, result.output
    with (
        TritonServer(folder, ServerSettings(startup_timeout=300)) as server,
        tritonclient.grpc.InferenceServerClient(server.grpc_url) as connected,
    ):
        yield connected


@pytest.mark.parametrize("stage", ["little", "big"])
def test_batches_of_every_size_are_answered_row_by_row(client, exported, stage):
    pictures = [Image.open(io.BytesIO(file)).resize((260, 260)) for file in crops(photographs(None), 32, 0)]
    images = np.stack([np.asarray(picture) for picture in pictures])
    session = onnxruntime.InferenceSession(str(exported / stage / "1/model.onnx"), providers=["CPUExecutionProvider"])
    (expected,) = session.run(["probabilities"], {"image": images})
    # Rows in the wrong place would show: most rows differ by far more than FP16 changes a row.
    assert np.mean(np.abs(expected[:, None] - expected).max(axis=-1) > 0.1) > 0.8
    random = np.random.default_rng(0)
    for size in random.permutation(np.repeat(np.arange(1, 33), 3)):
        rows = random.choice(32, size, replace=False)
        tensor = tritonclient.grpc.InferInput("image", [int(size), 260, 260, 3], "UINT8")
        tensor.set_data_from_numpy(images[rows])
        answer = client.infer(stage, [tensor]).as_numpy("probabilities")
        np.testing.assert_allclose(answer, expected[rows], atol=0.03)
