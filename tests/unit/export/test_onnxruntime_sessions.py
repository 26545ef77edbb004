"""The sessions of a stage on ONNX Runtime, and the target that fits a machine; CUDA's own part needs a GPU."""

import numpy as np
import onnxruntime
import pytest

from littlebig_export import targets
from littlebig_export.errors import NotHereError
from littlebig_export.exporting import export_pair
from littlebig_export.onnxruntime_stage.littlebig_session import CPU, CUDA, DeviceSession, open_session
from littlebig_export.pair import load_pair
from tests.tiny_pair import write_tiny_pair

OUTPUTS = ["confidence", "label", "margin", "probabilities"]
SIZES = [1, 2, 4, 8]


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sessions")
    export_pair(load_pair(str(write_tiny_pair(folder))), "cpu", folder / "models")
    return folder / "models/little/1/model.onnx"


@pytest.fixture(scope="module")
def sessions(graph):
    on_cpu = open_session(graph, {"threads": "1"}, 0, images_per_run=3)
    padded = open_session(graph, {"provider": CPU, "batch_sizes": ",".join(map(str, SIZES))}, 0, images_per_run=3)
    assert isinstance(padded, DeviceSession)
    return on_cpu, padded


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_a_padded_batch_has_the_answers_of_the_images_alone(sessions, count):
    on_cpu, padded = sessions
    images = np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), np.uint8)
    expected, answers = on_cpu.run(OUTPUTS, images), padded.run(OUTPUTS, images)
    assert list(answers) == OUTPUTS
    for name in OUTPUTS:
        np.testing.assert_allclose(answers[name], expected[name], atol=1e-6)
        assert answers[name].dtype == expected[name].dtype


def test_an_answer_is_not_changed_by_the_next_run(sessions):
    first, second = np.random.default_rng(0).integers(0, 256, (2, 4, 32, 32, 3), np.uint8)
    answer = sessions[1].run(["probabilities"], first)["probabilities"]
    before = answer.copy()
    sessions[1].run(["probabilities"], second)
    np.testing.assert_array_equal(answer, before)


def test_only_the_outputs_asked_for_are_copied(sessions):
    assert list(sessions[1].run(["label"], np.zeros((2, 32, 32, 3), np.uint8))) == ["label"]


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="CUDA is installed here")
@pytest.mark.filterwarnings("ignore:Specified provider")  # ONNX Runtime's own, before ours
def test_a_provider_that_does_not_start_is_named_with_its_remedy(graph):
    with pytest.raises(
        RuntimeError, match=r"does not start CUDAExecutionProvider on device 0: install onnxruntime-gpu"
    ):
        DeviceSession(graph, CUDA, 0, SIZES)


@pytest.mark.parametrize(
    ("gpu", "providers", "expected"),
    [(True, [CUDA, CPU], "cuda"), (True, [CPU], "cpu"), (False, [CUDA, CPU], "cpu")],
)
def test_the_target_is_cuda_where_a_gpu_and_its_provider_are_found(monkeypatch, gpu, providers, expected):
    def found():
        if not gpu:
            raise NotHereError("no GPU")

    monkeypatch.setattr(targets, "find_gpus", found)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    assert targets.best_target() == expected
