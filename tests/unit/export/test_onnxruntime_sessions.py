"""The sessions of a stage on ONNX Runtime, and the target that fits a machine; CUDA's own part needs a GPU."""

import littlebig_session
import numpy as np
import onnxruntime
import pytest
from littlebig_session import CPU, CUDA, DeviceSession, open_session

from littlebig_export import targets
from littlebig_export.errors import NotHereError
from littlebig_export.exporting import export_pair
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


def refusal(graph, provider=CUDA):
    with pytest.raises(RuntimeError) as error:
        DeviceSession(graph, provider, 0, SIZES)
    text = str(error.value)
    assert "\n" not in text
    where = f"ONNX Runtime {onnxruntime.__version__} does not start {provider} on device 0: "
    assert text.startswith(where)
    return text.removeprefix(where)


@pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="CUDA is installed here")
def test_a_package_without_cuda_is_named_with_its_remedy(graph):
    assert refusal(graph) == (
        "it has no CUDAExecutionProvider: pip uninstall -y onnxruntime, then pip install 'littlebig[cuda]'"
    )


CUDA_CALL = (
    "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:114 std::conditional_t<THRW, void, "
    "onnxruntime::common::Status> onnxruntime::CudaCall(ERRTYPE, const char*, const char*, SUCCTYPE, const char*, "
    "const char*, int) [with ERRTYPE = cudaError; bool THRW = true; SUCCTYPE = cudaError] CUDA failure {} ; GPU=-1 ; "
    "hostname=c4327188c000000 ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider.cc ; "
    "line=336 ; expr=cudaSetDevice(info_.device_id); "
)
# As ONNX Runtime writes them, in its public issues.
TEXTS = {
    "no GPU": (
        CUDA_CALL.format("100: no CUDA-capable device is detected"),
        "there is no GPU: nvidia-smi must list one",
    ),
    "other GPU": (CUDA_CALL.format("101: invalid device ordinal"), "there is no such GPU: set gpus in instance_group"),
    "driver": (
        CUDA_CALL.format("35: CUDA driver version is insufficient for CUDA runtime version"),
        "there is no NVIDIA driver, or it is too old for the CUDA of this package (CUDA 13 needs 580 or later)",
    ),
    "memory": (CUDA_CALL.format("2: out of memory"), "there is not enough GPU memory: stop what else uses the GPU"),
    "memory of a node": (
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. "
        "Name:'/conv/Conv' Status Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* "
        "onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*, bool, "
        "onnxruntime::WaitNotificationFn) Failed to allocate memory for requested buffer of size 8388608000\n",
        "there is not enough GPU memory: stop what else uses the GPU",
    ),
    "libraries": (
        "/onnxruntime_src/onnxruntime/python/onnxruntime_pybind_state.cc:743 onnxruntime::python::"
        "CreateExecutionProviderInstance CUDA_PATH is set but CUDA wasn't able to be loaded. Please install the correct "
        "version of CUDA and cuDNN as mentioned in the GPU requirements page",
        "CUDA's libraries are missing: pip uninstall -y onnxruntime",
    ),
    "kernel": (
        "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for Selu(6) node with name 'a'",
        "it has no kernel for a node of the graph: export with --precision fp32",
    ),
    "else": (
        "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from model.onnx failed:Protobuf parsing failed.",
        "Load model from model.onnx failed:Protobuf parsing failed.",
    ),
}


@pytest.mark.parametrize(("text", "expected"), TEXTS.values(), ids=TEXTS)
def test_a_failure_is_one_line_with_its_remedy(graph, monkeypatch, text, expected):
    def fails(*_, **given):
        assert not given["enable_fallback"]  # else ONNX Runtime goes on with another device
        raise RuntimeError(text)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", fails)
    assert refusal(graph).startswith(expected)


def test_a_provider_that_onnx_runtime_leaves_out_is_named(graph, monkeypatch):
    """Where CUDA's libraries are missing, ONNX Runtime only logs that, and computes on the CPU."""
    session = onnxruntime.InferenceSession(graph, providers=[CPU])
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: session)
    assert refusal(graph).startswith("its libraries are missing or of another version, see the log: pip uninstall")


def test_memory_that_ends_while_buffers_are_filled_is_named_too(graph, monkeypatch):
    def fails(*_):
        raise RuntimeError(TEXTS["memory of a node"][0])

    monkeypatch.setattr(littlebig_session._Buffers, "run", fails)
    assert refusal(graph, CPU).startswith("there is not enough GPU memory")


def test_a_graph_that_cannot_be_recorded_runs_without_cuda_graphs(graph, monkeypatch):
    """The GPU stays the same: of the settings only the recording is left out."""
    opened = []

    class Session:
        def __init__(self, path, *, providers, enable_fallback):
            opened.append(
                [provider if isinstance(provider, str) else (provider[0], dict(provider[1])) for provider in providers]
            )
            if "enable_cuda_graph" in providers[0][1]:
                raise RuntimeError(
                    "[ONNXRuntimeError] : 1 : FAIL : This session cannot use the graph capture feature as requested by the "
                    "user  as all compute graph nodes have not been partitioned to the CUDAExecutionProvider"
                )

        def get_providers(self):
            return [CUDA, CPU]

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    littlebig_session._open(graph, CUDA, 1)
    assert opened == [[(CUDA, {"device_id": "1", "enable_cuda_graph": "1"})], [(CUDA, {"device_id": "1"}), CPU]]


def test_an_fp16_graph_has_the_fp32_graphs_labels_on_the_cpu_provider(tmp_path, sessions):
    export_pair(load_pair(str(write_tiny_pair(tmp_path))), "cuda", tmp_path / "models")
    halves = DeviceSession(tmp_path / "models/little/1/model.onnx", CPU, 0, SIZES)
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    expected, answers = sessions[0].run(OUTPUTS, images), halves.run(OUTPUTS, images)
    np.testing.assert_array_equal(answers["label"], expected["label"])
    np.testing.assert_allclose(answers["confidence"], expected["confidence"], atol=0.03)


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
