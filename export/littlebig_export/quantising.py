"""Quantises a backbone to INT8 with ONNX Runtime's quantiser: Q/DQ nodes whose ranges are measured on pictures.

A calibration certifies what is served, so little needs no faithful arithmetic, only to be fast. Two things are tried
here because they depend on model and machine: how a range is taken from what a tensor reaches on pictures, judged by
labels and confidences on other pictures; and, on a CPU, weights of 8 or 7 bits. A CPU without VNNI adds two products in
16 bits, which 8-bit weights overflow; sessions avoid that with slower instructions, and 7 bits need none. So any CPU
gives the same answers, and only the speed differs.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from PIL import Image

from littlebig_export.classifiers import Classifier
from littlebig_export.errors import GraphError, ParityError
from littlebig_export.parity import fit, normalised
from littlebig_export.precision import keep_reasons, with_node_names
from littlebig_export.precision_effect import Effect, Lowered, measure_effect
from littlebig_export.preprocessing import Preprocessing
from littlebig_export.quantised_graph import is_quantised
from littlebig_export.stage_graph import keep_each_domain_once, stage_graph
from littlebig_export.view import view
from littlebig_export.weight_files import load_weights, open_graph, weight_bytes

# Ranges cover this percentage of a tensor's values; 100 is from the smallest to the largest.
PERCENTILES = (99.99, 99.999, 100.0)
# Pictures that ranges are measured on, up to a second each, and others that judge them; fewer than the least say
# nothing.
RANGED, JUDGED, _LEAST = 32, 64, 20
# INT8 that is hardly faster is not worth the answers that it changes.
WORTHWHILE = 1.1
_ROUNDS, _IMAGES_PER_RUN = 15, 2
# The quantiser works in memory, and protobuf serialises no more than 2 GiB.
_LARGEST = 1_500_000_000
# Operators with INT8 kernels in ONNX Runtime and TensorRT, and those that only move numbers between them.
_OPERATORS = ["Add", "AveragePool", "Clip", "Concat", "Conv", "ConvTranspose", "Flatten", "Gemm", "GlobalAveragePool"]
_OPERATORS += ["MatMul", "MaxPool", "Relu", "Reshape", "Squeeze", "Transpose", "Unsqueeze"]


def quantise(
    classifier: Classifier,
    canonical: Preprocessing,
    target: str,
    patterns: Sequence[str],
    pictures: Sequence[Image.Image],
    decision: tuple[str, float | None],
) -> tuple[Lowered, Effect | None]:
    """Bring a classifier's backbone to INT8.

    Args:
        classifier: its backbone is FP32; its nodes get names, in place.
        canonical: the big model's preprocessing.
        target: `cpu` takes 8- or 7-bit weights by their speed here; `tensorrt` takes symmetric ranges alone.
        patterns: what the pair wants kept in FP32.
        pictures: RGB, 20 at least; every other one judges the ranges measured on the rest.
        decision: the score that the gate compares, and the threshold.

    Returns:
        The backbone in INT8 and its effect, None for random weights; the backbone in FP32 and None if INT8 is not
        faster on the cpu target.

    Raises:
        ParityError: if there are too few pictures.
        GraphError: if the quantiser cannot take the graph.
    """
    if len(pictures) < _LEAST:
        raise ParityError(
            f"{len(pictures)} pictures are too few to measure the ranges of INT8: give {2 * JUDGED} or more, or leave "
            "out --pictures for the samples"
        )
    facts = classifier.backbone.preprocessing
    model = classifier.backbone.model
    if is_quantised(model):
        raise GraphError(f"'{classifier.name}' is quantised already: leave int8 out of --precision")
    if weight_bytes(model) > _LARGEST:
        raise GraphError(
            f"'{classifier.name}' has {weight_bytes(model) / 1e9:.1f} GB of weights, and int8 is for at most "
            f"{_LARGEST / 1e9:g} GB: choose another --precision"
        )
    keep_each_domain_once(with_node_names(model))
    model = load_weights(model)
    kept = keep_reasons(model, "int8", patterns)
    images = [np.asarray(fit(picture, canonical)) for picture in _some(pictures, 0, RANGED)]
    reference = stage_graph(classifier.backbone, canonical)

    def lowered(ranges: Any, bits: int) -> Lowered:
        served = _quantised(model, ranges, bits, kept, symmetric=target == "tensorrt")
        return Lowered(replace(classifier.backbone, model=served), "int8", kept)

    try:
        ranges = _ranges(model, (normalised([view(image, canonical, facts)], facts) for image in images))
        tried = {bits: lowered(ranges[PERCENTILES[0]], bits) for bits in ((8, 7) if target == "cpu" else (8,))}
    except (ValueError, RuntimeError, KeyError, AssertionError, onnx.checker.ValidationError) as reason:
        raise GraphError(
            f"'{classifier.name}' cannot be quantised by ONNX Runtime {onnxruntime.__version__}: "
            f"{str(reason).splitlines()[0] if str(reason) else type(reason).__name__}; choose another --precision"
        ) from reason
    bits, speedup = 8, None
    if target == "cpu":
        bits, speedup = _choose_bits(
            _speedups(reference, [stage_graph(each.backbone, canonical) for each in tried.values()], images)
        )
        if speedup < WORTHWHILE:
            return Lowered(classifier.backbone, "fp32", {}, {"int8_speedup": speedup}), None
    percentile, effect, chosen = PERCENTILES[0], None, tried[bits]
    if classifier.source != "random":
        judged = _some(pictures, 1, JUDGED)
        effects = {}
        for percentile in PERCENTILES:
            chosen = lowered(ranges[percentile], bits)
            effects[percentile] = chosen, measure_effect(reference, chosen, canonical, judged, decision)
        percentile = max(effects, key=lambda each: _closeness(effects[each][1]))
        chosen, effect = effects[percentile]
    details = {
        "ranges": f"percentile {percentile:g}" if percentile < 100.0 else "smallest to largest",
        "range_pictures": len(images),
        "range_pixels_sha256": hashlib.sha256(b"".join(image.tobytes() for image in images)).hexdigest(),
        "weight_bits": bits,
        "quantiser": f"onnxruntime {onnxruntime.__version__}",
        "speedup": speedup,
    }
    return replace(chosen, details=details), effect


def served_identity(weights_sha256: str, lowered: Lowered, target: str) -> str:
    """Identity of a stage's weights as they are served: INT8 answers differ, so it is its own, and of how it was made.

    FP16 and BF16 keep the weights' identity: their answers are FP32's but for rounding.
    """
    if "ranges" not in lowered.details:
        return weights_sha256
    made = {key: value for key, value in lowered.details.items() if key != "speedup"}
    content = [weights_sha256, target, sorted(lowered.kept), made]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _some(pictures: Sequence[Image.Image], first: int, most: int) -> list[Image.Image]:
    """Evenly spaced pictures: of every other one, from the first or from the second on."""
    places = range(first, len(pictures), 2)
    step = max(1, len(places) // most)
    return [pictures[place] for place in places[::step][:most]]


def _closeness(effect: Effect) -> tuple[float, float]:
    return effect.top1_agreement, -effect.confidence_change_p99


class _OneImage(CalibrationDataReader):  # type: ignore[misc]
    """Feeds a calibrator one batch: all tensors of more would not fit into memory."""

    def __init__(self, name: str, images: npt.NDArray[np.float32]) -> None:
        self.batches = iter([{name: images}])

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        return next(self.batches, None)


def _ranges(model: onnx.ModelProto, batches: Iterator[npt.NDArray[np.float32]]) -> dict[float, Any]:
    """Percentile -> ONNX Runtime's ranges of every tensor, from one pass over the pictures."""
    with tempfile.TemporaryDirectory(prefix="littlebig-int8-") as folder, _silence():
        path = Path(folder) / "model.onnx"
        onnx.save(onnx.shape_inference.infer_shapes(model), path)
        calibrator = create_calibrator(
            path,
            _OPERATORS,
            str(Path(folder) / "augmented.onnx"),
            CalibrationMethod.Percentile,
            extra_options={"symmetric": False},
        )
        for batch in batches:
            calibrator.collect_data(_OneImage(model.graph.input[0].name, batch))
        ranges = {}
        for percentile in PERCENTILES:
            calibrator.collector.percentile = percentile
            ranges[percentile] = calibrator.compute_data()
    return ranges


def _quantised(
    model: onnx.ModelProto, ranges: Any, bits: int, kept: Mapping[str, str], *, symmetric: bool
) -> onnx.ModelProto:
    """The Q/DQ graph. TensorRT wants zero points of 0 and biases in FP32, ONNX Runtime's kernels INT32 biases."""
    options = {"ActivationSymmetric": symmetric, "QuantizeBias": not symmetric}
    with _silence():
        quantiser = QDQQuantizer(
            onnx.shape_inference.infer_shapes(copy.deepcopy(model)),
            per_channel=True,
            reduce_range=bits == 7,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=list(kept),
            op_types_to_quantize=_OPERATORS,
            extra_options=options,
        )
        quantiser.quantize_model()
        quantiser.model.topological_sort()
    result: onnx.ModelProto = quantiser.model.model
    keep_each_domain_once(result)
    return result


def _speedups(
    reference: onnx.ModelProto, quantised: Sequence[onnx.ModelProto], images: Sequence[npt.NDArray[np.uint8]]
) -> list[float]:
    """How many times as fast each INT8 stage is, on one thread as the cpu target runs it.

    The stages take turns, so that each round sees the same load of the machine.
    """
    sessions = [open_graph(graph, threads=1, cpu_only=True) for graph in (reference, *quantised)]
    batch = {"image": np.stack(images[:_IMAGES_PER_RUN])}
    rounds = []
    for _ in range(_ROUNDS + 1):
        times = []
        for session in sessions:
            started = time.perf_counter()
            session.run(["label", "confidence"], batch)
            times.append(time.perf_counter() - started)
        rounds.append([times[0] / each for each in times[1:]])
    return [round(statistics.median(ratios), 2) for ratios in zip(*rounds[1:], strict=True)]


def _choose_bits(speedups: Sequence[float]) -> tuple[int, float]:
    """Bits of the weights, and how many times as fast: 7 of 8 only where that pays, because they answer less alike."""
    eight, seven = speedups
    return (7, seven) if seven >= WORTHWHILE * eight else (8, eight)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the quantiser's progress and advice from the user, who gets one line."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(level)
