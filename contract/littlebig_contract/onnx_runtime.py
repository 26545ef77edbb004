"""How the parts open an ONNX Runtime session, so that all of them choose the same providers."""

import os
from pathlib import Path
from typing import Any

# Keeps INT8 products from overflowing on CPUs without VNNI; nothing else changes. The stage of the cpu target, which
# imports no package of ours, says the same.
SAME_INT8 = ("session.x64quantprecision", "1")


def providers(cpu_only: bool = False) -> list[str]:
    """Execution providers in order of preference: CUDA where it is installed, then the CPU."""
    import onnxruntime  # noqa: PLC0415  (an extra: the base install has no ONNX Runtime)

    wanted = ("CPUExecutionProvider",) if cpu_only else ("CUDAExecutionProvider", "CPUExecutionProvider")
    available = onnxruntime.get_available_providers()
    return [name for name in wanted if name in available]


def open_session(
    graph: Path | bytes,
    *,
    threads: int | None = None,
    cpu_only: bool = False,
    weights: Path | None = None,
    lean: bool = False,
) -> Any:
    """An `onnxruntime.InferenceSession`.

    Args:
        graph: an ONNX file, or its bytes.
        threads: for one operator; the process's cores by default.
        cpu_only: keep to the CPU where a GPU is there too, as for a reference.
        weights: the folder of the files that `graph` refers to, where `graph` is bytes; such a session is lean.
        lean: use the weights where they are mapped into memory, without faster copies of them.
    """
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    options.add_session_config_entry(*SAME_INT8)
    if weights is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights))
    if lean or weights is not None:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.disable_prepacking", "1")
    source = graph if isinstance(graph, bytes) else str(graph)
    return onnxruntime.InferenceSession(source, options, providers=providers(cpu_only))
