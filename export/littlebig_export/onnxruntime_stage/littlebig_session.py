"""Sessions of ONNX Runtime that compute a stage: one for a CPU, one whose buffers stay on a device.

Without Triton, so that both run wherever ONNX Runtime does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from littlebig_session_errors import REMEDY, one_line

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_INPUT = "image"
_TYPES = {"tensor(int32)": np.int32, "tensor(float)": np.float32}
# ONNX Runtime records the kernels of a size in its first runs; the third replays them.
_RUNS_BEFORE_REPLAY = 3


def open_session(
    graph: Path, parameters: Mapping[str, str], device: int, images_per_run: int
) -> CpuSession | DeviceSession:
    """The session that a stage's parameters ask for.

    Args:
        graph: the ONNX file.
        parameters: of config.pbtxt: `batch_sizes` and `provider` for a `DeviceSession`, or `threads`.
        device: index of the GPU.
        images_per_run: most images in one run on a CPU.

    Raises:
        RuntimeError: in one line, if the provider does not start here.
    """
    if "batch_sizes" not in parameters:
        return CpuSession(graph, int(parameters["threads"]), images_per_run)
    sizes = [int(size) for size in parameters["batch_sizes"].split(",")]
    return DeviceSession(graph, parameters["provider"], device, sizes)


class CpuSession:
    """A graph on the CPU, a few images at a time."""

    def __init__(self, graph: Path, threads: int, images_per_run: int) -> None:
        """Open the graph."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        # Idle threads must sleep, not spin: the other stage needs their cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # INT8 stages answer on any CPU as they were calibrated: without this, products overflow where there is no VNNI.
        options.add_session_config_entry("session.x64quantprecision", "1")
        self._session = onnxruntime.InferenceSession(str(graph), options, providers=[CPU])
        self._images_per_run = images_per_run

    def run(self, names: Sequence[str], images: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
        """Compute outputs by name; images are uint8 [N, H, W, 3]."""
        starts = range(0, len(images), self._images_per_run)
        runs = [self._session.run(names, {_INPUT: images[at : at + self._images_per_run]}) for at in starts]
        return {name: np.concatenate(parts) for name, parts in zip(names, zip(*runs, strict=True), strict=True)}


class DeviceSession:
    """A graph on one device: each batch is padded to one of a few sizes, whose buffers stay where they are.

    A CUDA graph needs shapes and addresses that never change: the kernels of a size are recorded once, and then start
    together. No row reads another, so the padding does no harm.
    """

    def __init__(self, graph: Path, provider: str, device: int, sizes: Sequence[int]) -> None:
        """Open the graph, and run each size until its kernels are recorded.

        Args:
            graph: the ONNX file.
            provider: ONNX Runtime's name of what computes.
            device: index of the GPU.
            sizes: batch sizes, the largest batch among them.

        Raises:
            RuntimeError: in one line, if the provider does not start here.
        """
        place = ("cuda" if provider == CUDA else "cpu", device)
        if provider == CUDA and hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()  # CUDA's libraries from pip, where the system has none
        try:
            session = _open(graph, provider, device)
            self._buffers = [_Buffers(session, size, place, number) for number, size in enumerate(sorted(sizes), 1)]
            for buffers in self._buffers:
                for _ in range(_RUNS_BEFORE_REPLAY):
                    buffers.run((), np.zeros((1, *buffers.image_shape), np.uint8))
        except Exception as reason:
            where = f"ONNX Runtime {onnxruntime.__version__} does not start {provider} on device {device}"
            raise RuntimeError(one_line(where, reason)) from None

    def run(self, names: Sequence[str], images: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
        """Compute outputs by name; images are uint8 [N, H, W, 3], at most as many as the largest size."""
        buffers = next(each for each in self._buffers if each.size >= len(images))
        return buffers.run(names, images)


class _Buffers:
    """Input and outputs of one batch size, on the device."""

    def __init__(self, session: onnxruntime.InferenceSession, size: int, device: tuple[str, int], number: int) -> None:
        self.size, self._session = size, session
        self.image_shape = tuple(session.get_inputs()[0].shape[1:])
        self._staging = np.zeros((size, *self.image_shape), np.uint8)
        self._image = onnxruntime.OrtValue.ortvalue_from_numpy(self._staging, *device)
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(_INPUT, self._image)
        self._outputs: dict[str, Any] = {}
        for output in session.get_outputs():
            shape = (size, *output.shape[1:])
            value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, _TYPES[output.type], *device)
            self._binding.bind_ortvalue_output(output.name, value)
            self._outputs[output.name] = value
        self._options = onnxruntime.RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", str(number))

    def run(self, names: Sequence[str], images: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
        self._staging[: len(images)] = images
        self._image.update_inplace(self._staging)
        self._session.run_with_iobinding(self._binding, self._options)
        # A copy: the next run overwrites the buffer.
        return {name: np.array(self._outputs[name].numpy()[: len(images)]) for name in names}


def _open(graph: Path, provider: str, device: int) -> onnxruntime.InferenceSession:
    """A session on a provider, with CUDA graphs where ONNX Runtime can record this one."""
    if provider not in onnxruntime.get_available_providers():
        raise RuntimeError(f"it has no {provider}: {REMEDY}")
    settings = {"device_id": str(device), "enable_cuda_graph": "1"} if provider == CUDA else {}
    try:
        session = _session(graph, [(provider, settings)])
    except Exception as reason:
        if "graph capture" not in str(reason):
            raise
        # A node that only a CPU can compute forbids recording: the kernels then start one by one.
        del settings["enable_cuda_graph"]
        session = _session(graph, [(provider, settings), CPU])
    if provider not in session.get_providers():
        raise RuntimeError(f"its libraries are missing or of another version, see the log: {REMEDY}")
    return session


def _session(graph: Path, providers: Sequence[Any]) -> onnxruntime.InferenceSession:
    # By default ONNX Runtime prints why a provider fails, and goes on with others or other settings.
    return onnxruntime.InferenceSession(str(graph), providers=providers, enable_fallback=False)
