"""Quantises a backbone to INT8 with ONNX Runtime's quantiser: Q/DQ nodes whose ranges are measured on pictures.

A calibration certifies what is served, so little needs no faithful arithmetic, only to be fast. Two things are tried
here because they depend on model and machine: how a range is taken from what a tensor reaches on pictures, judged by
labels and confidences on other pictures; and, on a CPU, weights of 8 or 7 bits. A CPU without VNNI adds two products in
16 bits, which 8-bit weights overflow; sessions avoid that with slower instructions, and 7 bits need none. So any CPU
gives the same answers, and only the speed differs.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from PIL import Image

from littlebig_export.classifiers import Classifier
from littlebig_export.errors import GraphError, ParityError
from littlebig_export.int8_ranges import (
    OPERATORS,
    PERCENTILES,
    Ranges,
    for_quantiser,
    measure_ranges,
    ranges_sha256,
    read_ranges,
    silence,
)
from littlebig_export.int8_speed import WORTHWHILE, Speed, choose_bits, measure_speeds
from littlebig_export.parity import fit, normalised
from littlebig_export.precision import keep_reasons, with_node_names
from littlebig_export.precision_effect import Effect, Lowered, measure_effect
from littlebig_export.preprocessing import Preprocessing
from littlebig_export.quantised_graph import is_quantised
from littlebig_export.stage_graph import keep_each_domain_once, stage_graph
from littlebig_export.view import view
from littlebig_export.weight_files import load_weights, weight_bytes

# Pictures that ranges are measured on, up to a second each, and others that judge them; fewer than the least say
# nothing. Where labels are given, accuracy is that of all others, up to the most.
RANGED, JUDGED, _LEAST, _MOST = 32, 64, 20, 1000
# The quantiser works in memory, and protobuf serialises no more than 2 GiB.
_LARGEST = 1_500_000_000
# Details that say how a graph was made, and so are part of its identity.
_MADE = ("ranges", "range_pictures", "range_pixels_sha256", "ranges_sha256", "weight_bits", "quantiser")


@dataclass(frozen=True)
class Shown:
    """What quantising is measured on.

    Attributes:
        pictures: RGB, 20 at least; every other one judges the ranges measured on the rest.
        labels: the class of each, or none.
        ranges: the pair's own, a file, in place of measuring.
    """

    pictures: Sequence[Image.Image]
    labels: Sequence[int] = ()
    ranges: Path | None = None


def quantise(
    classifier: Classifier,
    canonical: Preprocessing,
    target: str,
    patterns: Sequence[str],
    shown: Shown,
    decision: tuple[str, float | None],
    *,
    anyway: bool = False,
) -> tuple[Lowered, Effect | None]:
    """Bring a classifier's backbone to INT8.

    Args:
        classifier: its backbone is FP32; its nodes get names, in place.
        canonical: the big model's preprocessing.
        target: `cpu` takes 8- or 7-bit weights by their speed here; `tensorrt` takes symmetric ranges alone.
        patterns: what the pair wants kept in FP32.
        shown: the pictures.
        decision: the score that the gate compares, and the threshold.
        anyway: INT8 even if it is no faster on the cpu target.

    Returns:
        The backbone in INT8 and its effect, None for random weights; the backbone in FP32 and None if INT8 is not
        faster on the cpu target.

    Raises:
        ParityError: if there are too few pictures.
        GraphError: if the quantiser cannot take the graph.
        PairError: if the pair's ranges cannot be read.
    """
    pictures = shown.pictures
    if len(pictures) < _LEAST:
        raise ParityError(
            f"{len(pictures)} pictures are too few to measure the ranges of INT8: give {2 * JUDGED} or more, or leave "
            "out --pictures for the samples"
        )
    model = _checked(classifier)
    kept = keep_reasons(model, "int8", patterns)
    facts = classifier.backbone.preprocessing
    cpu = target == "cpu"
    images = [np.asarray(fit(pictures[place], canonical)) for place in _places(pictures, 0, RANGED)]

    def lowered(ranges: Ranges, bits: int) -> Lowered:
        served = _quantised(model, ranges, bits, kept, symmetric=not cpu)
        return Lowered(replace(classifier.backbone, model=served), "int8", kept)

    try:
        own = read_ranges(shown.ranges, model) if shown.ranges else None
        candidates = (
            {"the pair's": own}
            if own
            else {
                f"percentile {percentile:g}" if percentile < PERCENTILES[-1] else "smallest to largest": ranges
                for percentile, ranges in measure_ranges(
                    model, (normalised([view(image, canonical, facts)], facts) for image in images)
                ).items()
            }
        )
        name = next(iter(candidates))
        tried = {bits: lowered(candidates[name], bits) for bits in ((8, 7) if cpu else (8,))}
    except (ValueError, RuntimeError, KeyError, AssertionError, onnx.checker.ValidationError) as reason:
        raise GraphError(
            f"'{classifier.name}' cannot be quantised by ONNX Runtime {onnxruntime.__version__}: "
            f"{str(reason).splitlines()[0] if str(reason) else type(reason).__name__}; choose another --precision"
        ) from reason
    reference = stage_graph(classifier.backbone, canonical, banded=cpu)
    bits, speed = 8, None
    if cpu:
        graphs = [stage_graph(each.backbone, canonical, banded=True) for each in tried.values()]
        bits, speed = choose_bits(*measure_speeds(reference, graphs, images))
        if speed.speedup < WORTHWHILE and not anyway:
            return Lowered(classifier.backbone, "fp32", {}, {"int8_speedup": speed.speedup}), None
    effect, chosen = None, tried[bits]
    if classifier.source != "random":
        judged = [pictures[place] for place in _places(pictures, 1, JUDGED)]
        effects: dict[str, tuple[Lowered, Effect]] = {}
        for name, ranges in candidates.items():
            chosen = tried[bits] if not effects else lowered(ranges, bits)
            effects[name] = chosen, measure_effect(reference, chosen, canonical, judged, decision)
        name = max(effects, key=lambda each: _closeness(effects[each][1]))
        chosen, effect = effects[name]
        if shown.labels:
            ranged = () if own else _places(pictures, 0, RANGED)
            others = [place for place in range(len(pictures)) if place not in ranged][:_MOST]
            labels = [shown.labels[place] for place in others]
            judged = [pictures[place] for place in others]
            effect = measure_effect(reference, chosen, canonical, judged, decision, labels)
    details = _details(name, candidates[name], bits, speed)
    if not own:
        pixels = hashlib.sha256(b"".join(image.tobytes() for image in images)).hexdigest()
        made = {"range_pictures": len(images), "range_pixels_sha256": pixels}
        details.update(made, quantiser=f"onnxruntime {onnxruntime.__version__}")
    return replace(chosen, details=details), effect


def served_identity(weights_sha256: str, lowered: Lowered, target: str) -> str:
    """Identity of a stage's weights as they are served: INT8 answers differ, so it is its own, and of how it was made.

    FP16 and BF16 keep the weights' identity: their answers are FP32's but for rounding.
    """
    if "ranges" not in lowered.details:
        return weights_sha256
    made = {key: lowered.details[key] for key in _MADE if key in lowered.details}
    content = [weights_sha256, target, sorted(lowered.kept), made]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _checked(classifier: Classifier) -> onnx.ModelProto:
    """The backbone with its weights in memory.

    Raises:
        GraphError: if it is quantised already or too large.
    """
    model = classifier.backbone.model
    if is_quantised(model):
        raise GraphError(f"'{classifier.name}' is quantised already: leave int8 out of --precision")
    if weight_bytes(model) > _LARGEST:
        raise GraphError(
            f"'{classifier.name}' has {weight_bytes(model) / 1e9:.1f} GB of weights, and int8 is for at most "
            f"{_LARGEST / 1e9:g} GB: choose another --precision"
        )
    keep_each_domain_once(with_node_names(model))
    return load_weights(model)


def _places(pictures: Sequence[Image.Image], first: int, most: int) -> list[int]:
    """Places of evenly spaced pictures: of every other one, from the first or from the second on."""
    places = range(first, len(pictures), 2)
    return list(places[:: max(1, len(places) // most)][:most])


def _closeness(effect: Effect) -> tuple[float, float]:
    return effect.top1_agreement, -effect.confidence_change_p99


def _details(name: str, ranges: Ranges, bits: int, speed: Speed | None) -> dict[str, Any]:
    return {
        "ranges": name,
        "ranges_sha256": ranges_sha256(ranges),
        "weight_bits": bits,
        "speedup": speed and speed.speedup,
        "milliseconds": speed and {"int8": speed.milliseconds, "fp32": speed.fp32_milliseconds},
        "int8_ranges": dict(ranges),
    }


def _quantised(
    model: onnx.ModelProto, ranges: Ranges, bits: int, kept: Mapping[str, str], *, symmetric: bool
) -> onnx.ModelProto:
    """The Q/DQ graph. TensorRT wants zero points of 0 and biases in FP32, ONNX Runtime's kernels INT32 biases."""
    options = {"ActivationSymmetric": symmetric, "QuantizeBias": not symmetric}
    with silence():
        quantiser = QDQQuantizer(
            onnx.shape_inference.infer_shapes(copy.deepcopy(model)),
            per_channel=True,
            reduce_range=bits == 7,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            tensors_range=for_quantiser(ranges),
            nodes_to_quantize=[],
            nodes_to_exclude=list(kept),
            op_types_to_quantize=OPERATORS,
            extra_options=options,
        )
        quantiser.quantize_model()
        quantiser.model.topological_sort()
    result: onnx.ModelProto = quantiser.model.model
    keep_each_domain_once(result)
    return result
