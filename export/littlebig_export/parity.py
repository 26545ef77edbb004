"""Checks an exported stage against the model it was made from, on real photographs, before anything is written.

Two comparisons. On the pixels that the graph resamples for itself, the original model must give the same
probabilities; otherwise the export fails. On its own transform of the original picture, the model may differ slightly,
because little's pixels are resampled twice; this is only reported.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import onnx
from PIL import Image

from littlebig_contract.onnx_runtime import open_session
from littlebig_contract.pictures import SUFFIXES, sample_photographs
from littlebig_contract.pictures import pictures_in as find_pictures
from littlebig_contract.preprocess_module import load_preprocess_module
from littlebig_export.classifiers import Classifier, Images
from littlebig_export.config_pbtxt import reference_repository
from littlebig_export.errors import ParityError
from littlebig_export.preprocessing import Preprocessing, view_box

# Arithmetic in another order moves a probability by 1e-6, a pixel that rounds the other way by about 1e-4.
LARGEST_DIFFERENCE = 5e-3


@dataclass(frozen=True)
class Parity:
    """How a stage's answers compare with the original model's.

    Attributes:
        pictures: how many were compared.
        top1_agreement: share of pictures with the same label, given the same pixels.
        largest_difference: of a probability, given the same pixels.
        own_transform_top1_agreement: share with the same label when the model sees its own transform of the picture.
        own_transform_largest_difference: of a probability, then.
    """

    pictures: int
    top1_agreement: float
    largest_difference: float
    own_transform_top1_agreement: float
    own_transform_largest_difference: float

    def as_dict(self) -> dict[str, float]:
        """For the provenance file."""
        return asdict(self)


def photographs() -> list[Image.Image]:
    """Real photographs to check on, RGB."""
    try:
        paths = sample_photographs()
    except ModuleNotFoundError:
        raise ParityError(
            "scikit-image, whose photographs an export is checked on, is missing: pip install 'littlebig[export]'"
        ) from None
    return [Image.open(path).convert("RGB") for path in paths]


def pictures_in(folder: Path) -> list[Image.Image]:
    """All pictures of a folder, at any depth, RGB, in the order of their paths.

    Raises:
        ParityError: if there is none, or one cannot be read.
    """
    paths = find_pictures(folder)
    if not paths:
        raise ParityError(f"no pictures ({', '.join(SUFFIXES)}) in '{folder}'")
    pictures = []
    for path in paths:
        try:
            pictures.append(Image.open(path).convert("RGB"))
        except OSError as reason:
            raise ParityError(f"'{path}' cannot be read as a picture: {reason}") from reason
    return pictures


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
    session = open_session(graph.SerializeToString(), cpu_only=True)
    shared = [fit(picture, canonical) for picture in pictures]
    served = session.run(["probabilities"], {"image": np.stack([np.asarray(image) for image in shared])})[0]
    model = classifier.backbone.preprocessing
    same_pixels = classifier.reference(normalised([_view(image, canonical, model) for image in shared], model))
    own_transform = classifier.reference(normalised([fit(picture, model) for picture in pictures], model))
    parity = Parity(len(pictures), *_compare(served, same_pixels), *_compare(served, own_transform))
    if not parity.largest_difference <= LARGEST_DIFFERENCE:
        raise ParityError(
            f"the graph of '{classifier.name}' is not the model it was made from: a probability differs by "
            f"{parity.largest_difference:.2g} on the same pixels (at most {LARGEST_DIFFERENCE:g} is rounding)"
        )
    return parity


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


def _view(canonical_image: Image.Image, canonical: Preprocessing, model: Preprocessing) -> Image.Image:
    """What a stage sees of the canonical image, resampled by Pillow instead of the graph."""
    start, end = view_box(canonical, model)
    side = (model.size, model.size)
    return canonical_image.resize(side, Image.Resampling[model.interpolation.upper()], box=(start, start, end, end))


def normalised(images: Sequence[Image.Image], model: Preprocessing) -> Images:
    """RGB images of one size as the float32 batch [N,3,S,S] that a model takes."""
    pixels = np.stack([np.asarray(image) for image in images]).astype(np.float32) / 255.0
    normalised = (pixels - np.array(model.mean, np.float32)) / np.array(model.std, np.float32)
    return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2), np.float32)


def _compare(ours: npt.NDArray[np.float32], theirs: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Share of rows with the same largest column, and the largest difference of any value."""
    agreement = float((ours.argmax(-1) == theirs.argmax(-1)).mean())
    return agreement, float(np.abs(ours - theirs).max())
