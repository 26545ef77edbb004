"""Measures what it costs a stage to see the canonical image instead of its model's own transform of the picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import onnx
from PIL import Image

from littlebig_export.classifiers import Classifier
from littlebig_export.parity import fit, normalised
from littlebig_export.preprocessing import Preprocessing
from littlebig_export.weight_files import open_graph

_BATCH = 8
_Z = 1.96


@dataclass(frozen=True)
class Agreement:
    """A stage's answers against its model's on the model's own transform of the same pictures.

    Attributes:
        pictures: how many were compared.
        top1_agreement: share of them with the same label.
        top1_agreement_low: lower end of its 95 % interval (Wilson), for independent pictures.
        top1_agreement_high: upper end.
        confidence_change_mean: mean absolute difference of the confidence.
    """

    pictures: int
    top1_agreement: float
    top1_agreement_low: float
    top1_agreement_high: float
    confidence_change_mean: float

    def as_dict(self) -> dict[str, float]:
        """For the provenance file."""
        return asdict(self)

    def describe(self, of: str) -> str:
        """A part of a line for people; `of` says which pictures."""
        return (
            f"same label as with the model's own transform on {self.top1_agreement:.1%} "
            f"({self.top1_agreement_low:.1%} to {self.top1_agreement_high:.1%}) of {self.pictures} {of}, confidence "
            f"differs by {self.confidence_change_mean:.2g} on average"
        )


def measure_agreement(
    graph: onnx.ModelProto, classifier: Classifier, canonical: Preprocessing, pictures: Sequence[Image.Image]
) -> Agreement:
    """Compare a stage with its model on the model's own transform.

    Args:
        graph: the stage in FP32.
        classifier: what it was made from.
        canonical: the big model's preprocessing.
        pictures: RGB, of any size; at least one.
    """
    session = open_graph(graph, cpu_only=True)
    model = classifier.backbone.preprocessing
    same, changes = 0, []
    for batch in _batches(pictures):
        images = np.stack([np.asarray(fit(picture, canonical)) for picture in batch])
        label, confidence = session.run(["label", "confidence"], {"image": images})
        own = classifier.reference(normalised([np.asarray(fit(picture, model)) for picture in batch], model))
        same += int((own.argmax(-1) == label[:, 0]).sum())
        changes.append(np.abs(own.max(-1) - confidence[:, 0]))
    low, high = wilson(same, len(pictures))
    return Agreement(len(pictures), same / len(pictures), low, high, float(np.concatenate(changes).mean()))


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    share, weight = hits / trials, _Z**2 / trials
    middle = (share + weight / 2.0) / (1.0 + weight)
    half = math.sqrt(weight * (share * (1.0 - share) + weight / 4.0)) / (1.0 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)


def _batches(pictures: Sequence[Image.Image]) -> Iterator[list[Image.Image]]:
    for start in range(0, len(pictures), _BATCH):
        yield [pictures[index] for index in range(start, min(start + _BATCH, len(pictures)))]
