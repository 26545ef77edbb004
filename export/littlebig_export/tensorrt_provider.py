"""The target onnxruntime: stages for the ONNX Runtime backend of NVIDIA's Triton container, computed by TensorRT.

Names of the parameters: https://github.com/triton-inference-server/onnxruntime_backend, "ONNX Runtime with TensorRT
optimization"; the backend refuses others. TensorRT builds its engines while the model loads.
"""

from __future__ import annotations

from littlebig_export.config_pbtxt import Config

# deploy/Dockerfile creates this folder, and the chart mounts its cache of engines there. The backend creates the folder
# itself where it is missing and may.
CACHE = "/cache"
_PROFILES = "optimization[]/execution_accelerators[]/gpu_execution_accelerator[tensorrt]/parameters"


def on_tensorrt_provider(config: Config, graph_sha256: str) -> None:
    """Let ONNX Runtime's TensorRT provider compute a stage.

    No `precision_mode` is set: ONNX Runtime then builds a strongly typed network, whose types are the graph's (FP16
    backbone, FP32 softmax).

    Args:
        config: of a stage, with the reference's input and batch size; changed.
        graph_sha256: of the stage's ONNX file and its weights.
    """
    message = config.message
    message.backend = "onnxruntime"
    config.comments[""] = [
        f"# The {message.name} stage in Triton's ONNX Runtime backend (target onnxruntime). TensorRT builds an engine",
        "# of model.onnx when the model is loaded for the first time, which takes minutes.",
    ]
    message.ClearField("optimization")
    accelerator = message.optimization.execution_accelerators.gpu_execution_accelerator.add(name="tensorrt")
    largest = message.max_batch_size
    shape = "x".join(str(length) for length in message.input[0].dims)
    for bound, batch in (("min", 1), ("opt", max(1, largest // 4)), ("max", largest)):
        accelerator.parameters[f"trt_profile_{bound}_shapes"] = f"{message.input[0].name}:{batch}x{shape}"
    accelerator.parameters["trt_engine_cache_enable"] = "true"
    accelerator.parameters["trt_engine_cache_path"] = CACHE
    accelerator.parameters["trt_engine_cache_prefix"] = f"{message.name}-{graph_sha256[:16]}"
    config.comments["optimization[]"] = [
        "# Without precision_mode TensorRT takes each node's type from the graph: an FP16 backbone, an FP32 softmax.",
    ]
    config.comments[f"{_PROFILES}[trt_engine_cache_prefix]"] = [
        "# A hash of the graph with its weights: ONNX Runtime's own name for an engine says nothing of the weights, so",
        "# it would load an engine of other ones.",
    ]
    config.comments[f"{_PROFILES}[trt_profile_max_shapes]"] = [
        "# Batches that the engine takes: with them it is built while the model loads, not by the first request.",
    ]
