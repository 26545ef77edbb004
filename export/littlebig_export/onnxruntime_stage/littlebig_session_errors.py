"""Why ONNX Runtime does not compute a graph on a device, in one line with the remedy.

ONNX Runtime's own texts name a line of its source and a host. The patterns are parts of texts that it has been seen to
write (`CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; GPU=-1 ; hostname=...`).
"""

from __future__ import annotations

import re

REMEDY = "pip uninstall -y onnxruntime, then pip install 'littlebig[cuda]'"
_CAUSES = (
    (
        r"CUDA failure 100:|no CUDA-capable device",
        "there is no GPU: nvidia-smi must list one, CUDA_VISIBLE_DEVICES must not hide it, a container needs --gpus",
    ),
    (
        r"CUDA failure 101:|invalid device ordinal",
        "there is no such GPU: set gpus in instance_group of config.pbtxt to one that nvidia-smi lists",
    ),
    (
        r"CUDA failure 35:|driver version is insufficient",
        "there is no NVIDIA driver, or it is too old for the CUDA of this package (CUDA 13 needs 580 or later)",
    ),
    (
        r"CUDA failure 209:|no kernel image is available",
        "this package has no kernels for the GPU, which is too old or too new: install another onnxruntime-gpu",
    ),
    (
        r"CUDA failure 2:|out of memory|Failed to allocate memory|_STATUS_ALLOC_FAILED",
        "there is not enough GPU memory: stop what else uses the GPU, lower count in instance_group, or lower "
        "max_batch_size with the last of batch_sizes in config.pbtxt",
    ),
    (
        r"CUDA wasn't able to be loaded|cannot open shared object file",
        f"CUDA's libraries are missing: {REMEDY}",
    ),
    (
        r"NOT_IMPLEMENTED|Could not find an implementation",
        "it has no kernel for a node of the graph: export with --precision fp32",
    ),
)
_CODES = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_MOST = 300


def one_line(where: str, reason: Exception) -> str:
    """An error of ONNX Runtime for people.

    Args:
        where: what does not compute, as `ONNX Runtime 1.31.1 does not start CUDAExecutionProvider on device 0`.
        reason: what ONNX Runtime raised.
    """
    text = " ".join(str(reason).split())
    for pattern, cause in _CAUSES:
        if re.search(pattern, text):
            return f"{where}: {cause}"
    return f"{where}: {_CODES.sub('', text)[:_MOST]}"
