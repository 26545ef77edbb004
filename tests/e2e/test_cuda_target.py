"""The repository of the cuda target, served: on a GPU as it is, elsewhere with ONNX Runtime's CPU provider in its place."""

import numpy as np
import pytest
from tests.tiny_pair import write_tiny_pair

from littlebig_client import Client
from littlebig_export.config_pbtxt import read_config, set_parameter, write_config
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair
from littlebig_export.targets import best_target
from littlebig_server import TritonServer

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8)


def on_cpu(repository):
    """Let the stages compute on the CPU, with everything else as for a GPU."""
    for stage in ("little", "big"):
        path = repository / stage / "config.pbtxt"
        config = read_config(path)
        set_parameter(config.message, "provider", "CPUExecutionProvider")
        config.message.instance_group[0].kind = type(config.message.instance_group[0]).KIND_CPU
        path.write_text(write_config(config))


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", pytest.param("gpu", marks=pytest.mark.gpu)])
def test_the_cascade_answers_as_that_of_the_cpu_target(tmp_path, tiny_repository, device):
    if device == "gpu" and best_target() != "cuda":
        pytest.skip("no GPU with onnxruntime-gpu here")
    export_pair(load_pair(str(write_tiny_pair(tmp_path))), "cuda", tmp_path / "models", precision="fp32")
    if device == "cpu":
        on_cpu(tmp_path / "models")
    answers = []
    for repository in (tmp_path / "models", tiny_repository):
        with TritonServer(repository) as server, Client(server.grpc_url) as client:
            answers.append(list(client.classify_many(IMAGES, concurrency=16)))
    ours, theirs = answers
    assert [(each.label, each.stage) for each in ours] == [(each.label, each.stage) for each in theirs]
    assert [each.confidence for each in ours] == pytest.approx([each.confidence for each in theirs], abs=1e-4)
