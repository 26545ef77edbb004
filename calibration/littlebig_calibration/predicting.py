"""Runs both stages over a labelled set, in parts, so that an interrupted run can be resumed."""

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.labelled import LabelledImages
from littlebig_calibration.table import ModelColumns, PredictionTable
from littlebig_calibration.writing import write_table
from littlebig_contract.files import replacing

# Images per part: the most that an interruption loses.
PART = 256
BATCH = 16
_COLUMNS = ("label", "confidence", "margin", "top5_labels", "top5_probabilities")


class PredictingStage(Protocol):
    """One stage: from a repository's files, or of a running server."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def weights_sha256(self) -> str | None:
        """The identity of the weights, where it is known."""

    def predict(self, images: Array) -> dict[str, Array]:
        """`label`, `confidence` and `margin` [n] and `probabilities` [n, classes] of uint8 images [n, H, W, 3]."""


class Models(Protocol):
    """Preprocessing and both stages."""

    @property
    def stages(self) -> Sequence[PredictingStage]:
        """Little and big."""

    @property
    def classes(self) -> int:
        """The number of classes."""

    @property
    def class_names(self) -> Sequence[str] | None:
        """Their names in order, where they are known."""

    @property
    def export(self) -> str | None:
        """Identifies what was exported, the graphs around the weights included; None where it is not known."""

    @property
    def decode(self) -> str | None:
        """How pictures are decoded, `scaled` or `full`; None where the server does not say."""

    def canonical_image(self, path: Path) -> Array:
        """The canonical image of a picture file, uint8 [H, W, 3]; called from several threads."""


def predict(
    models: Models,
    images: LabelledImages,
    output: Path,
    *,
    data_set: str,
    progress: Callable[[int], None] = lambda images: None,
) -> PredictionTable:
    """Predict a labelled set with both stages and write the table.

    Finished parts are kept beside the output until the table is complete. Another call with the same images and
    weights resumes from them.

    Args:
        models: preprocessing and stages.
        images: what to predict.
        output: the table, `.parquet` or `.csv`; it appears whole or not at all.
        data_set: the images' name in the evidence.
        progress: called with the number of images done since its last call.

    Raises:
        TableError: naming the first file that is not a picture, or if folders fix no classes, or the table cannot be
            written.
    """
    images = images.with_classes(models.classes, models.class_names)
    parts = output.with_name(f".{output.name}.parts-{_key(models, images)}")
    parts.mkdir(parents=True, exist_ok=True)
    done: list[dict[str, Array]] = []
    for start in range(0, len(images.files), PART):
        path = parts / f"{start}.npz"
        part = _read(path)
        if part is None:
            part = _predict_part(models, images, images.files[start : start + PART], progress)
            with replacing(path) as partial, partial.open("wb") as file:
                np.savez(file, **part)
        else:
            progress(len(images.files[start : start + PART]))
        done.append(part)
    table = PredictionTable(
        files=images.files,
        labels=np.array(images.labels, np.int32),
        models=tuple(
            ModelColumns(
                name=stage.name,
                weights_sha256=stage.weights_sha256,
                **{column: np.concatenate([part[f"{index} {column}"] for part in done]) for column in _COLUMNS},
            )
            for index, stage in enumerate(models.stages)
        ),
        data_set=data_set,
        classes=models.classes,
        decode=models.decode,
    )
    write_table(table, output)
    shutil.rmtree(parts)
    return table


def _predict_part(
    models: Models, images: LabelledImages, files: Sequence[str], progress: Callable[[int], None]
) -> dict[str, Array]:
    """Both stages' columns for some files, by the key `INDEX COLUMN`."""
    columns: dict[str, list[Array]] = {}
    for batch in _decoded(models, images.folder, files):
        for index, stage in enumerate(models.stages):
            prediction = stage.predict(batch)
            probabilities = prediction.pop("probabilities")
            order = np.argsort(-probabilities, axis=-1, kind="stable")[:, :5]
            prediction["top5_labels"] = order.astype(np.int32)
            prediction["top5_probabilities"] = np.take_along_axis(probabilities, order, -1)
            for column, values in prediction.items():
                columns.setdefault(f"{index} {column}", []).append(values)
        progress(len(batch))
    return {name: np.concatenate(values) for name, values in columns.items()}


def _decoded(models: Models, folder: Path, files: Sequence[str]) -> Iterator[Array]:
    """Canonical images in batches; later ones are decoded while the stages work on this one."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        decoding = [pool.submit(models.canonical_image, folder / file) for file in files]
        try:
            for start in range(0, len(files), BATCH):
                yield np.stack([image.result() for image in decoding[start : start + BATCH]])
        finally:
            for image in decoding:
                image.cancel()


def _read(path: Path) -> dict[str, Array] | None:
    """A finished part, or None if it does not exist."""
    try:
        with np.load(path) as part:
            return dict(part)
    except (OSError, ValueError, zipfile.BadZipFile):
        return None


def _key(models: Models, images: LabelledImages) -> str:
    """A hash of all that a finished part depends on: files, weights, graphs and decoding."""
    weights = [stage.weights_sha256 for stage in models.stages]
    content = [str(images.folder.absolute()), images.files, weights, models.export, models.decode]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:12]
