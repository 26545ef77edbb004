"""Checks an exported stage against the model it was made from, on real photographs, before anything is written.

On the pixels that the graph makes for itself, computed here once more without it, the original model must give the same
probabilities. What these pixels cost against the model's own transform is measured by `agreement.py`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt
import onnx
from PIL import Image

from littlebig_contract.preprocess_module import load_preprocess_module
from littlebig_export.classifiers import Classifier, Images, Scores, softmax
from littlebig_export.config_pbtxt import reference_repository
from littlebig_export.errors import ParityError
from littlebig_export.preprocessing import Preprocessing
from littlebig_export.view import view
from littlebig_export.weight_files import open_graph

# Arithmetic in another order moves a probability by about 1e-6, a sharpened one by up to 1e-3.
LARGEST_DIFFERENCE = 5e-3
# Standard deviations of scores over the photographs. Below the first, which no trained model reaches, they are scaled
# to the second, as if they were no smaller than the third: rounding would show. The last is for models in halves.
_FLAT, _SHARP, _FLATTEST, _FLATTEST_HALVES = 0.5, 4.0, 0.002, 0.1


@dataclass(frozen=True)
class Parity:
    """How a stage's answers compare with the original model's.

    Attributes:
        pictures: how many were compared.
        top1_agreement: share of pictures with the same label, given the same pixels.
        largest_difference: of a probability, given the same pixels; flat answers are sharpened before.
    """

    pictures: int
    top1_agreement: float
    largest_difference: float

    def as_dict(self) -> dict[str, float]:
        """For the provenance file."""
        return asdict(self)


def check_parity(
    graph: onnx.ModelProto, classifier: Classifier, canonical: Preprocessing, pictures: Sequence[Image.Image]
) -> Parity:
    """Compare a stage with its original model.

    Args:
        graph: the stage.
        classifier: what it was made from.
        canonical: the big model's preprocessing.
        pictures: RGB, of any size.

    Raises:
        ParityError: if the graph answers differently from the model on the same pixels.
    """
    images = np.stack([np.asarray(fit(picture, canonical)) for picture in pictures])
    # The session is gone before the original model runs: their weights need not be in memory together.
    served = open_graph(graph, cpu_only=True).run(["probabilities"], {"image": images})[0]
    model = classifier.backbone.preprocessing
    original = classifier.reference(normalised([view(image, canonical, model) for image in images], model))
    agreement = float((served.argmax(-1) == original.argmax(-1)).mean())
    halves = any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in graph.graph.initializer)
    served, original = sharpened(served, original, _FLATTEST_HALVES if halves else _FLATTEST)
    parity = Parity(len(pictures), agreement, float(np.abs(served - original).max()))
    if not parity.largest_difference <= LARGEST_DIFFERENCE:
        raise ParityError(
            f"the graph of '{classifier.name}' is not the model it was made from: a probability differs by "
            f"{parity.largest_difference:.2g} on the same pixels (at most {LARGEST_DIFFERENCE:g} is rounding)"
        )
    return parity


def sharpened(served: Scores, original: Scores, flattest: float = _FLATTEST) -> tuple[Scores, Scores]:
    """Two answers to the same pictures, peaked enough that a fault changes them.

    With random weights every probability is about 1 / C, and hardly differs from picture to picture. Then the scores,
    less what is common to all pictures, are scaled up.

    Args:
        served: probabilities [N,C].
        original: probabilities [N,C], which decide whether and how much to sharpen.
        flattest: the smallest standard deviation of scores that is more than rounding.
    """
    ours, theirs = (
        np.log(np.maximum(each, np.finfo(np.float32).tiny), dtype=np.float64) for each in (served, original)
    )
    ours, theirs = (each - each.mean(axis=-1, keepdims=True) for each in (ours, theirs))
    common = theirs.mean(axis=0)
    spread = float((theirs - common).std())
    if spread >= _FLAT:
        return served, original
    scale = _SHARP / max(spread, flattest)
    return softmax(scale * (ours - common)), softmax(scale * (theirs - common))


def fit(picture: Image.Image, model: Preprocessing) -> Image.Image:
    """A model's own transform of a picture, up to the point where it becomes floating point.

    The code is that of the served preprocess model, so that what is checked is what is served.

    Args:
        picture: RGB, of any size.
        model: whose transform.

    Returns:
        RGB image of the model's input size.
    """
    transform = _preprocess_code().Fit(model.size, model.resize, model.crop_mode, model.interpolation)
    image: Image.Image = transform.apply(picture)
    return image


@functools.cache
def _preprocess_code() -> ModuleType:
    """The served preprocess model's module: it lives in the model repository, not in a package."""
    return load_preprocess_module(reference_repository())


def normalised(images: Sequence[npt.ArrayLike], model: Preprocessing) -> Images:
    """RGB images of one size, [S,S,3] from 0 to 255, as the float32 batch [N,3,S,S] that a model takes."""
    pixels = np.stack([np.asarray(image) for image in images]).astype(np.float32) / 255.0
    normalised = (pixels - np.array(model.mean, np.float32)) / np.array(model.std, np.float32)
    return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2), np.float32)
