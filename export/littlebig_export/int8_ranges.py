"""Ranges of INT8: from which number to which each tensor of a backbone is quantised, measured on pictures or given."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
from onnxruntime.quantization.calibrate import TensorsData, create_calibrator

from littlebig_export.errors import PairError

# Tensor -> its smallest and largest number.
Ranges = Mapping[str, tuple[float, float]]

# Ranges cover this percentage of a tensor's values; 100 is from the smallest to the largest.
PERCENTILES = (99.99, 99.999, 100.0)
# Operators with INT8 kernels in ONNX Runtime and TensorRT, and those that only move numbers between them.
OPERATORS = ["Add", "AveragePool", "Clip", "Concat", "Conv", "ConvTranspose", "Flatten", "Gemm", "GlobalAveragePool"]
OPERATORS += ["MatMul", "MaxPool", "Relu", "Reshape", "Squeeze", "Transpose", "Unsqueeze"]


def measure_ranges(model: onnx.ModelProto, batches: Iterator[npt.NDArray[np.float32]]) -> dict[float, Ranges]:
    """Percentile -> ranges of a backbone's tensors, from one pass over the pictures.

    Args:
        model: the backbone in FP32.
        batches: normalised pictures, float32 [n,3,S,S].
    """
    with tempfile.TemporaryDirectory(prefix="littlebig-int8-") as folder, silence():
        path = Path(folder) / "model.onnx"
        onnx.save(onnx.shape_inference.infer_shapes(model), path)
        calibrator = create_calibrator(
            path,
            OPERATORS,
            str(Path(folder) / "augmented.onnx"),
            CalibrationMethod.Percentile,
            extra_options={"symmetric": False},
        )
        for batch in batches:
            calibrator.collect_data(_OneBatch(model.graph.input[0].name, batch))
        ranges: dict[float, Ranges] = {}
        for percentile in PERCENTILES:
            calibrator.collector.percentile = percentile
            data = calibrator.compute_data().data
            ranges[percentile] = {
                name: (float(each.range_value[0]), float(each.range_value[1])) for name, each in data.items()
            }
    return ranges


def read_ranges(path: Path, model: onnx.ModelProto) -> Ranges | None:
    """A pair's own ranges, with which any machine makes the same INT8 graph.

    Args:
        path: JSON, tensor -> [smallest, largest], as `int8_ranges` in littlebig.json.
        model: the backbone in FP32.

    Returns:
        None if the graph has other tensors, as one that another version of PyTorch exported.

    Raises:
        PairError: if the file holds no ranges.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        ranges = {str(name): (float(low), float(high)) for name, (low, high) in content.items()}
    except (OSError, ValueError, TypeError, AttributeError) as reason:
        raise PairError(f"int8_ranges '{path}' cannot be read: {reason}") from reason
    tensors = {name for node in model.graph.node for name in (*node.input, *node.output)}
    return ranges if ranges and set(ranges) <= tensors else None


def ranges_sha256(ranges: Ranges) -> str:
    """Identity of ranges."""
    return hashlib.sha256(json.dumps(ranges, sort_keys=True).encode()).hexdigest()


def for_quantiser(ranges: Ranges) -> TensorsData:
    """Ranges as ONNX Runtime's quantiser takes them."""
    pairs = {name: (np.array(low, np.float32), np.array(high, np.float32)) for name, (low, high) in ranges.items()}
    return TensorsData(CalibrationMethod.MinMax, pairs)


class _OneBatch(CalibrationDataReader):  # type: ignore[misc]
    """Feeds a calibrator one batch: all tensors of more would not fit into memory."""

    def __init__(self, name: str, images: npt.NDArray[np.float32]) -> None:
        self.batches = iter([{name: images}])

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        return next(self.batches, None)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep the quantiser's progress and advice from the user, who gets one line."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(level)
