"""The target onnxruntime: what Triton's ONNX Runtime backend reads, without a GPU and without that backend."""

import onnx
import pytest
from tritonclient.grpc import model_config_pb2

from littlebig_contract.stages import STAGES
from littlebig_export.config_pbtxt import read_config
from littlebig_export.errors import PairError
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair
from littlebig_server.preflight import preflight
from tests.tiny_pair import tiny_classifier, write_tiny_pair

# The parameters of the accelerator `tensorrt`; the backend refuses a model with any other:
# https://github.com/triton-inference-server/onnxruntime_backend, README.md, "Parameter mapping".
KNOWN = {
    *("precision_mode", "max_workspace_size_bytes", "trt_engine_cache_enable", "trt_engine_cache_path"),
    *("trt_engine_cache_prefix", "trt_timing_cache_enable", "trt_timing_cache_path", "trt_cuda_graph_enable"),
    *("trt_profile_min_shapes", "trt_profile_opt_shapes", "trt_profile_max_shapes"),
}


def export(folder, name="models"):
    export_pair(load_pair(str(folder / "tiny.toml")), "onnxruntime", folder / name)
    return folder / name


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("provider")
    write_tiny_pair(folder)
    return export(folder)


def config(repository, stage):
    return read_config(repository / stage / "config.pbtxt").message


def parameters(repository, stage):
    (accelerator,) = config(repository, stage).optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    return dict(accelerator.parameters)


@pytest.mark.parametrize("stage", STAGES)
def test_the_backend_knows_every_parameter(repository, stage):
    assert set(parameters(repository, stage)) <= KNOWN


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_a_graph_for_the_gpu_with_the_engines_tensors(repository, stage):
    message = config(repository, stage)
    assert message.backend == "onnxruntime"
    assert [group.kind for group in message.instance_group] == [model_config_pb2.ModelInstanceGroup.KIND_GPU]
    assert message.HasField("dynamic_batching")
    assert sorted(path.name for path in (repository / stage / "1").iterdir()) == ["model.onnx"]
    graph = onnx.load(repository / stage / "1/model.onnx")
    onnx.checker.check_model(graph, full_check=True)
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:]
        for value in (*graph.graph.input, *graph.graph.output)
    }
    for tensor in (*message.input, *message.output):
        assert shapes[tensor.name] == list(tensor.dims), tensor.name


@pytest.mark.parametrize("stage", STAGES)
def test_the_engine_takes_every_batch_that_triton_sends_and_is_built_while_the_model_loads(repository, stage):
    message, given = config(repository, stage), parameters(repository, stage)
    batches = [int(given[f"trt_profile_{bound}_shapes"].split(":")[1].split("x")[0]) for bound in ("min", "opt", "max")]
    assert batches == sorted(batches)
    assert (batches[0], batches[-1]) == (1, message.max_batch_size)
    assert given["trt_profile_max_shapes"] == f"image:{message.max_batch_size}x32x32x3"
    assert max(warmup.batch_size for warmup in message.model_warmup) == message.max_batch_size


def test_types_come_from_the_graph_whose_backbone_is_fp16(repository):
    assert "precision_mode" not in parameters(repository, "big")
    graph = onnx.load(repository / "big/1/model.onnx").graph
    assert onnx.TensorProto.FLOAT16 in {constant.data_type for constant in graph.initializer}


def test_an_engine_is_kept_under_its_stage_and_weights(repository, tmp_path):
    write_tiny_pair(tmp_path)
    again = export(tmp_path)
    tiny_classifier(tmp_path / "big.onnx", 32, seed=3)
    changed = export(tmp_path, "changed")
    prefixes = {
        (folder, stage): parameters(folder, stage)["trt_engine_cache_prefix"]
        for folder in (repository, again, changed)
        for stage in STAGES
    }
    for stage in STAGES:
        assert prefixes[repository, stage] == prefixes[again, stage]
        assert prefixes[repository, stage].startswith(f"{stage}-")
    assert prefixes[again, "little"] == prefixes[changed, "little"]
    assert prefixes[again, "big"] != prefixes[changed, "big"]


def test_the_repository_is_whole_for_a_server(repository):
    assert f"{repository}: threshold 0.6 from pair" in preflight(repository)


def test_int8_is_refused_with_what_the_target_computes_in(tmp_path):
    with pytest.raises(PairError, match="target onnxruntime computes in one of fp16, fp32"):
        export_pair(load_pair(str(write_tiny_pair(tmp_path))), "onnxruntime", tmp_path / "out", precision="int8")
