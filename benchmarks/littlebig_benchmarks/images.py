"""Photographs mixed to an exact escalation rate: crops that little is sure or unsure of, in a fixed order."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tritonclient.grpc
from PIL import Image, UnidentifiedImageError
from tritonclient.utils import InferenceServerException

from littlebig_benchmarks.errors import ImagesError
from littlebig_benchmarks.serving import Served
from littlebig_contract.pictures import SUFFIXES, pictures_in, sample_photographs

CANDIDATES = 160
# Long enough for any rate in steps of 5 %.
_PERIODS = range(20, 41)
_TRIES = 500


@dataclass(frozen=True)
class Pictures:
    """Candidates for a mix.

    Attributes:
        encoded: JPEG files.
        canonical: the same as canonical images, uint8 [N, H, W, 3].
        unsure: which of them little is unsure of, boolean [N].
        scores: little's, N values; empty where little was not asked.
    """

    encoded: tuple[bytes, ...]
    canonical: npt.NDArray[np.uint8]
    unsure: npt.NDArray[np.bool_]
    scores: tuple[float, ...] = ()


@dataclass(frozen=True)
class Mix:
    """A sequence of pictures with an exact fraction of unsure ones.

    Attributes:
        order: indices into the pictures; may repeat.
        unsure: for each position of the order.
    """

    order: npt.NDArray[np.intp]
    unsure: npt.NDArray[np.bool_]

    @property
    def escalation(self) -> float:
        """The fraction of unsure pictures."""
        return float(self.unsure.mean())


def photographs(folder: Path | None) -> list[Path]:
    """The pictures to crop: those of a folder, or scikit-image's.

    Raises:
        ImagesError: if the folder has none.
    """
    if folder is None:
        return sample_photographs()
    paths = pictures_in(folder)
    if not paths:
        raise ImagesError(f"no pictures in '{folder}' ({', '.join(SUFFIXES)}): give another --images folder")
    return paths


def crops(paths: Sequence[Path], count: int, seed: int) -> list[bytes]:
    """Square crops of photographs as JPEG files, the photographs in turn.

    Args:
        paths: the photographs.
        count: how many crops.
        seed: of their positions and sizes: 40 to 100 % of the shorter side, at most 500 pixels.

    Raises:
        ImagesError: if a file cannot be read.
    """
    random = np.random.default_rng(seed)
    encoded = []
    for number in range(count):
        picture = _open(paths[number % len(paths)])
        side = int(min(picture.size) * random.uniform(0.4, 1.0))
        left = int(random.integers(picture.width - side + 1))
        top = int(random.integers(picture.height - side + 1))
        crop = picture.crop((left, top, left + side, top + side))
        crop.thumbnail((500, 500))
        encoded.append(as_jpeg(crop, quality=92))
    return encoded


def as_jpeg(picture: Image.Image, quality: int) -> bytes:
    """A picture as a JPEG file, 4:2:0."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as opened:
            return opened.convert("RGB")
    except (UnidentifiedImageError, OSError):
        raise ImagesError(f"'{path}' cannot be read as a picture: remove it, or give other --images") from None


def look_through(served: Served, encoded: Sequence[bytes]) -> Pictures:
    """Ask the served `preprocess` for the canonical images, and little for its score of each.

    Raises:
        ImagesError: if a picture cannot be preprocessed.
    """
    canonical, scores = [], []
    outputs = [tritonclient.grpc.InferRequestedOutput(served.score)]
    with served.endpoint.open() as client:
        for number, file in enumerate(encoded):
            picture = tritonclient.grpc.InferInput("encoded_image", [1, 1], "BYTES")
            picture.set_data_from_numpy(np.array([[file]], object))
            try:
                image = client.infer("preprocess", [picture]).as_numpy("image")
            except InferenceServerException as reason:
                raise ImagesError(
                    f"picture {number + 1} of {len(encoded)} cannot be used: {reason.message()}; leave it out"
                ) from None
            tensor = tritonclient.grpc.InferInput("image", list(image.shape), "UINT8")
            tensor.set_data_from_numpy(image)
            scores.append(client.infer("little", [tensor], outputs=outputs).as_numpy(served.score).item())
            canonical.append(image[0])
    unsure = ~(np.array(scores, np.float32) >= np.float32(served.threshold))
    return Pictures(tuple(encoded), np.stack(canonical), unsure, tuple(scores))


def for_stages_that_do_nothing(count: int, escalation: float, shape: Sequence[int], seed: int) -> Pictures:
    """Images whose first byte is the confidence that a stage that does nothing will answer: 0 or 255."""
    canonical = np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)
    unsure = np.arange(count) < round(count * escalation)
    canonical[:, 0, 0, 0] = np.where(unsure, 0, 255)
    return Pictures((), canonical, unsure)


def mix(pictures: Pictures, escalation: float, concurrency: int, seed: int) -> Mix:
    """An order of pictures with an exact fraction of unsure ones, overall and for each request in flight.

    With a concurrency of n, perf_analyzer's sender number i sends the pictures i, i + n, i + 2n and so on. A sender
    with more unsure pictures would be slower and send less, which would shift the mix. So each has the same fraction.

    Args:
        pictures: to choose from, as often as needed.
        escalation: wanted fraction of unsure ones.
        concurrency: number of senders that take turns through the order.
        seed: of the order.

    Raises:
        ImagesError: if there is no sure or no unsure picture.
    """
    unsure, sure = np.flatnonzero(pictures.unsure), np.flatnonzero(~pictures.unsure)
    if len(unsure) == 0 or len(sure) == 0:
        raise ImagesError(
            f"little is {'sure' if len(unsure) == 0 else 'unsure'} of all {len(pictures.unsure)} pictures at the "
            "threshold in force: a mix needs both kinds; give more --images"
        )
    period = min(_PERIODS, key=lambda length: (round(abs(round(length * escalation) / length - escalation), 9), length))
    random = np.random.default_rng(seed)
    kinds = _even_kinds(concurrency, period, max(1, round(period * escalation)), random)
    order = np.empty(len(kinds), np.intp)
    for kind, places in ((True, np.flatnonzero(kinds)), (False, np.flatnonzero(~kinds))):
        chosen = unsure if kind else sure
        turns = [random.permutation(chosen) for _ in range(-(-len(places) // len(chosen)))]
        order[places] = np.concatenate(turns)[: len(places)]
    return Mix(order, kinds)


def _even_kinds(concurrency: int, period: int, unsure: int, random: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Whether each position of an order is unsure: exact for every sender, and nearly so for any stretch of the order.

    Of many random orders, the one whose running fraction deviates least, so a run that ends early keeps its fraction.
    """
    base = np.zeros((_TRIES, period, concurrency), bool)
    base[:, :unsure] = True
    tried = random.permuted(base, axis=1)
    so_far = tried.sum(axis=2).cumsum(axis=1)
    expected = np.arange(1, period + 1) * concurrency * unsure / period
    return np.asarray(tried[np.abs(so_far - expected).max(axis=1).argmin()].ravel(), np.bool_)


def perf_analyzer_input(pictures: Pictures, chosen: Mix, *, encoded: bool) -> str:
    """The JSON that perf_analyzer's --input-data takes.

    Args:
        pictures: all of them.
        chosen: which, in which order.
        encoded: JPEG files for `classify`, or canonical images for all other models.
    """
    texts: dict[int, str] = {}
    for place in {int(place) for place in chosen.order}:
        content = pictures.canonical[place].tobytes()
        if encoded:  # Triton's own form of a BYTES element: its length, then its bytes
            content = len(pictures.encoded[place]).to_bytes(4, "little") + pictures.encoded[place]
        texts[place] = base64.b64encode(content).decode()
    name = "encoded_image" if encoded else "image"
    return json.dumps({"data": [{name: {"b64": texts[int(place)]}} for place in chosen.order]})
