"""What the stages may run on, and which of it fits this machine."""

from __future__ import annotations

from littlebig_export.errors import NotHereError
from littlebig_export.gpu import find_gpus

# Targets whose stages are Python models on ONNX Runtime.
PYTHON_TARGETS = ("cpu", "cuda")
# Targets whose stages need a backend that a tritonserver from pip does not have: target -> the backend's name.
CONTAINER_TARGETS = {"tensorrt": "tensorrt", "onnxruntime": "onnxruntime"}
TARGETS = (*PYTHON_TARGETS, *CONTAINER_TARGETS)


def best_target() -> str:
    """`cuda` where this machine has a GPU and ONNX Runtime's CUDA provider is installed, else `cpu`.

    The others are never chosen unasked: a tritonserver from pip cannot load them.
    """
    try:
        find_gpus()
    except NotHereError:
        return "cpu"
    import onnxruntime  # noqa: PLC0415  the many machines without a GPU need not wait for it

    return "cuda" if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else "cpu"
