"""Photographs mixed to a wanted escalation rate: crops that little is really sure or unsure of, in a fixed order."""

from __future__ import annotations

import base64
import importlib.util
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

# Photographs in scikit-image's wheel.
PHOTOGRAPHS = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "motorcycle_left.png",
    "motorcycle_right.png",
    "rocket.jpg",
)
CANDIDATES = 160
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
# Long enough for any rate in steps of 5 %.
_PERIODS = range(20, 41)
_TRIES = 500


@dataclass(frozen=True)
class Pictures:
    """Candidates for a mix.

    Attributes:
        encoded: JPEG files.
        canonical: the same as the stages see them, uint8 [N, H, W, 3].
        unsure: which of them little is unsure of, boolean [N].
    """

    encoded: tuple[bytes, ...]
    canonical: npt.NDArray[np.uint8]
    unsure: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Mix:
    """A sequence of pictures with an exact share of unsure ones.

    Attributes:
        order: indices into the pictures; may repeat.
        unsure: per place of the order.
    """

    order: npt.NDArray[np.intp]
    unsure: npt.NDArray[np.bool_]

    @property
    def escalation(self) -> float:
        """The share of unsure pictures."""
        return float(self.unsure.mean())


def photographs(folder: Path | None) -> list[Path]:
    """The pictures to take crops of: those of a folder, or the ones that come with scikit-image.

    Raises:
        ImagesError: if the folder has none.
    """
    if folder is not None:
        found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
        if not found:
            raise ImagesError(f"no pictures in '{folder}' ({', '.join(_SUFFIXES)}): give another --images folder")
        return found
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("scikit-image is not installed", name="skimage")
    return [Path(spec.origin).parent / "data" / name for name in PHOTOGRAPHS]


def crops(paths: Sequence[Path], count: int, seed: int) -> list[bytes]:
    """Square crops of photographs as JPEG files, the photographs in turn.

    Args:
        paths: the photographs.
        count: how many crops.
        seed: of their places and sizes: 40 to 100 % of the shorter side, at most 500 pixels.

    Raises:
        ImagesError: if a file is no picture.
    """
    random = np.random.default_rng(seed)
    made = []
    for number in range(count):
        path = paths[number % len(paths)]
        try:
            with Image.open(path) as opened:
                picture = opened.convert("RGB")
        except (UnidentifiedImageError, OSError):
            raise ImagesError(f"'{path}' is no picture that can be read: remove it, or give other --images") from None
        side = int(min(picture.size) * random.uniform(0.4, 1.0))
        left = int(random.integers(picture.width - side + 1))
        top = int(random.integers(picture.height - side + 1))
        crop = picture.crop((left, top, left + side, top + side))
        crop.thumbnail((500, 500))
        file = io.BytesIO()
        crop.save(file, "JPEG", quality=92)
        made.append(file.getvalue())
    return made


def look_through(served: Served, encoded: Sequence[bytes]) -> Pictures:
    """Ask the served preprocessing for the canonical images, and little for its score of each.

    Raises:
        ImagesError: if one cannot be preprocessed.
    """
    canonical, scores = [], []
    with tritonclient.grpc.InferenceServerClient(served.url) as client:
        for number, file in enumerate(encoded):
            tensor = tritonclient.grpc.InferInput("encoded_image", [1, 1], "BYTES")
            tensor.set_data_from_numpy(np.array([[file]], object))
            try:
                image = client.infer("preprocess", [tensor]).as_numpy("image")
            except InferenceServerException as reason:
                raise ImagesError(
                    f"picture {number + 1} of {len(encoded)} cannot be used: {reason.message()}; leave it out"
                ) from None
            asked = tritonclient.grpc.InferInput("image", list(image.shape), "UINT8")
            asked.set_data_from_numpy(image)
            wanted = [tritonclient.grpc.InferRequestedOutput(served.score)]
            scores.append(client.infer("little", [asked], outputs=wanted).as_numpy(served.score).item())
            canonical.append(image[0])
    unsure = ~(np.array(scores, np.float32) >= np.float32(served.threshold))
    return Pictures(tuple(encoded), np.stack(canonical), unsure)


def for_stages_that_do_nothing(count: int, escalation: float, shape: Sequence[int], seed: int) -> Pictures:
    """Images whose first byte is the confidence that a stage that does nothing will have: 0 or 255."""
    canonical = np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)
    unsure = np.arange(count) < round(count * escalation)
    canonical[:, 0, 0, 0] = np.where(unsure, 0, 255)
    return Pictures((), canonical, unsure)


def mix(pictures: Pictures, escalation: float, clients: int, seed: int) -> Mix:
    """An order of pictures in which an exact share is unsure, for each client as for all of them.

    perf_analyzer's client number i of n sends the pictures i, i + n, i + 2n and so on. A client that meets unsure
    pictures more often is slower and so asks less, which would shift the mix: so each client's share is the same.

    Args:
        pictures: to choose from, as often as needed.
        escalation: wanted share of unsure ones.
        clients: that take turns through the order.
        seed: of the order.

    Raises:
        ImagesError: if there is no picture of a kind that is needed.
    """
    unsure, sure = np.flatnonzero(pictures.unsure), np.flatnonzero(~pictures.unsure)
    if len(unsure) == 0 or len(sure) == 0:
        raise ImagesError(
            f"little is {'sure' if len(unsure) == 0 else 'unsure'} of all {len(pictures.unsure)} pictures at the "
            "threshold in force: a mix needs both kinds; give more --images"
        )
    period = min(_PERIODS, key=lambda length: (round(abs(round(length * escalation) / length - escalation), 9), length))
    random = np.random.default_rng(seed)
    kinds = _even_kinds(clients, period, max(1, round(period * escalation)), random)
    order = np.empty(len(kinds), np.intp)
    for kind, places in ((True, np.flatnonzero(kinds)), (False, np.flatnonzero(~kinds))):
        chosen = unsure if kind else sure
        turns = [random.permutation(chosen) for _ in range(-(-len(places) // len(chosen)))]
        order[places] = np.concatenate(turns)[: len(places)]
    return Mix(order, kinds)


def _even_kinds(clients: int, period: int, unsure: int, random: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Whether each place of an order is unsure: exact for every client, and nearly so for any stretch of the order.

    Of many random orders the one whose share so far strays least; a run that ends within the order keeps its share.
    """
    base = np.zeros((_TRIES, period, clients), bool)
    base[:, :unsure] = True
    tried = random.permuted(base, axis=1)
    so_far = tried.sum(axis=2).cumsum(axis=1)
    expected = np.arange(1, period + 1) * clients * unsure / period
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
