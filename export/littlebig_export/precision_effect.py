"""Lowers a stage's precision and measures on photographs how its answers change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from PIL import Image

from littlebig_export.classifiers import Classifier
from littlebig_export.errors import GraphError
from littlebig_export.parity import fit, normalised
from littlebig_export.precision import keep_reasons, to_precision, with_node_names
from littlebig_export.preprocessing import Preprocessing
from littlebig_export.quantised_graph import is_quantised, with_float_biases
from littlebig_export.rounding import largest_values, rounded
from littlebig_export.stage_graph import Backbone, stage_graph
from littlebig_export.weight_files import open_graph

_BATCH = 8


@dataclass(frozen=True)
class Lowered:
    """A backbone in the precision that it is served in.

    Attributes:
        backbone: FP32 in and out, the precision in between.
        precision: `int8`, `fp16`, `bf16` or `fp32`.
        kept: node -> why it stays in FP32.
        details: of INT8, how it was made and how much faster it is here.
    """

    backbone: Backbone
    precision: str
    kept: Mapping[str, str]
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Effect:
    """A stage's answers in lower precision against its answers in FP32.

    Attributes:
        pictures: how many were compared.
        top1_agreement: share of pictures with the same label.
        confidence_change_p99: 99 of 100 pictures' confidence changes by no more than this.
        confidence_change_largest: of all pictures.
        changed_decisions: share of pictures on the other side of the pair's threshold; it matters for little alone.
        accuracy: share of pictures with the right label, where labels are given.
        fp32_accuracy: the same in FP32.
    """

    pictures: int
    top1_agreement: float
    confidence_change_p99: float
    confidence_change_largest: float
    changed_decisions: float
    accuracy: float | None = None
    fp32_accuracy: float | None = None

    def as_dict(self) -> dict[str, float | None]:
        """For the provenance file."""
        return asdict(self)


def lower(
    classifier: Classifier, precision: str, patterns: Sequence[str] = (), pictures: Sequence[Image.Image] = ()
) -> Lowered:
    """Bring a classifier's backbone to a precision, keeping in FP32 what does not fit.

    Args:
        classifier: its backbone is FP32.
        precision: `fp16`, `bf16` or `fp32`.
        patterns: what the pair wants kept in FP32.
        pictures: RGB, to find the activations that come near the end of FP16's range; none to go without.

    Raises:
        GraphError: if a pattern matches nothing, or the graph's types cannot be inferred.
    """
    model, facts = classifier.backbone.model, classifier.backbone.preprocessing
    if precision == "fp32":
        return Lowered(classifier.backbone, precision, {})
    model = with_node_names(model)
    if is_quantised(model):
        return Lowered(
            replace(classifier.backbone, model=with_float_biases(model)), "int8", {}, {"quantised": "as given"}
        )
    largest = {}
    if precision == "fp16" and pictures:
        largest = largest_values(model, normalised([fit(picture, facts) for picture in pictures], facts))
    kept = keep_reasons(model, precision, patterns, largest)
    return Lowered(replace(classifier.backbone, model=to_precision(model, precision, kept)), precision, kept)


def measure_effect(
    reference: onnx.ModelProto,
    lowered: Lowered,
    canonical: Preprocessing,
    pictures: Sequence[Image.Image],
    decision: tuple[str, float | None],
    truth: Sequence[int] = (),
) -> Effect:
    """Compare a lowered stage with the FP32 one on pictures.

    Args:
        reference: the stage in FP32.
        lowered: its backbone in the precision that is served.
        canonical: the big model's preprocessing.
        pictures: RGB, of any size; at least one.
        decision: the score that the gate compares, `confidence` or `margin`, and the threshold; None escalates all.
        truth: the class of each picture, or none.

    Raises:
        GraphError: if an answer is no number any more.
    """
    emulated = stage_graph(replace(lowered.backbone, model=rounded(lowered.backbone.model)), canonical)
    images = np.stack([np.asarray(fit(picture, canonical)) for picture in pictures])
    gate, threshold = decision
    labels, confidence, score = _answers(reference, images, gate)
    low_labels, low_confidence, low_score = _answers(emulated, images, gate)
    broken = int((~np.isfinite(low_confidence)).sum())
    if broken:
        raise GraphError(
            f"{lowered.precision} overflows on {broken} of {len(images)} photographs: name the layers that do in the "
            "pair's fp32 setting, or export with --precision bf16 or fp32"
        )
    change = np.abs(low_confidence - confidence)
    return Effect(
        pictures=len(images),
        top1_agreement=float((labels == low_labels).mean()),
        confidence_change_p99=float(np.quantile(change, 0.99)),
        confidence_change_largest=float(change.max()),
        changed_decisions=0.0 if threshold is None else float(((score < threshold) != (low_score < threshold)).mean()),
        accuracy=float((low_labels == np.array(truth)).mean()) if truth else None,
        fp32_accuracy=float((labels == np.array(truth)).mean()) if truth else None,
    )


def describe_effect(stage: str, lowered: Lowered, effect: Effect | None, of: str) -> str:
    """One line for people, who see `of` as the name of the pictures that were compared."""
    if "int8_speedup" in lowered.details:
        speedup = lowered.details["int8_speedup"]
        return (
            f"{stage}: int8 is {speedup:g} times as fast as fp32 here, which does not pay: it is served in fp32 "
            "(--int8-anyway serves int8, for another CPU)"
        )
    if "quantised" in lowered.details:
        return f"{stage}: its Q/DQ nodes stay as they are, its biases become fp32, all else is fp32"
    line = f"{stage}: {lowered.precision}, {len(lowered.kept)} nodes kept in fp32"
    if lowered.details.get("speedup"):
        took = lowered.details["milliseconds"]
        line += (
            f", {lowered.details['speedup']:g} times as fast as fp32 here ({took['int8']:.1f} instead of "
            f"{took['fp32']:.1f} ms an image on one thread)"
        )
    if effect is None:
        return f"{line}; random weights say nothing of accuracy"
    made_here = lowered.details.get("ranges", "the pair's") != "the pair's"
    what = f"{of} that did not make its ranges" if made_here else of
    line += (
        f"; same label on {effect.top1_agreement:.1%} of {effect.pictures} {what}, confidence differs by at most "
        f"{effect.confidence_change_largest:.2g} (99 % of them: {effect.confidence_change_p99:.2g})"
    )
    if stage == "little":
        line += f", {effect.changed_decisions:.1%} of decisions change"
    if effect.accuracy is None:
        return line
    return f"{line}; {effect.accuracy:.1%} of them right, {effect.fp32_accuracy:.1%} in fp32"


def as_provenance(lowered: Lowered, effect: Effect | None) -> dict[str, Any]:
    """A stage's part of `precision` in littlebig.json."""
    return {
        "precision": lowered.precision,
        "kept_in_fp32": dict(lowered.kept),
        **lowered.details,
        "effect": None if effect is None else effect.as_dict(),
    }


def _answers(
    graph: onnx.ModelProto, images: npt.NDArray[np.uint8], score: str
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Label, confidence and score of each image, int32 [N] and float32 [N] twice."""
    session = open_graph(graph, cpu_only=True)
    parts = [
        session.run(["label", "confidence", score], {"image": images[start : start + _BATCH]})
        for start in range(0, len(images), _BATCH)
    ]
    labels, confidence, scores = (np.concatenate([part[index] for part in parts])[:, 0] for index in range(3))
    return labels, confidence, scores
