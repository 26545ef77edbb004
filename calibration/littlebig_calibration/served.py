"""The stages of a rendered repository, run without a server: the very files that Triton serves.

A repository is the format between exporting and calibrating: its graphs, its preprocess code and settings, and
littlebig.json, which says whose weights they are. So a calibration's accuracy is that of what is served.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from littlebig_calibration._arrays import Array
from littlebig_calibration.errors import TableError
from littlebig_contract.preprocess_module import load_preprocess_module

STAGES = ("little", "big")
OUTPUTS = ("label", "confidence", "margin", "probabilities")


@dataclass(frozen=True)
class Stage:
    """One stage: its model's name, the identity of its weights, and its graph."""

    name: str
    weights_sha256: str
    session: Any

    def answer(self, images: Array) -> dict[str, Array]:
        """`label`, `confidence` and `margin` [n] and `probabilities` [n, classes] of uint8 images [n, H, W, 3]."""
        return named_outputs(self.session.run(list(OUTPUTS), {"image": images}))


def named_outputs(arrays: Sequence[Array]) -> dict[str, Array]:
    """A stage's outputs in the order of OUTPUTS by name, those of one number per image as [n]."""
    *single, probabilities = arrays
    flat = {name: values.reshape(-1) for name, values in zip(OUTPUTS, single, strict=False)}
    return {**flat, "probabilities": probabilities}


class ServedModels:
    """A repository's preprocessing and both its stages.

    Attributes:
        decode: how its preprocess decodes pictures, `scaled` or `full`.
    """

    def __init__(self, repository: Path) -> None:
        """Open a repository that `littlebig export` wrote.

        Raises:
            TableError: if it is none, or lacks its graphs.
        """
        try:
            provenance = json.loads((repository / "littlebig.json").read_text(encoding="utf-8"))
            self.stages = tuple(_stage(repository, stage, provenance["stages"][stage]) for stage in STAGES)
            self._preprocess = load_preprocess_module(repository)
            config = text_format.Parse(
                (repository / "preprocess" / "config.pbtxt").read_text(encoding="utf-8"), model_config_pb2.ModelConfig()
            )
        except (OSError, ValueError, KeyError, TypeError, text_format.ParseError) as error:
            raise TableError(
                f"'{repository}' is not a model repository of ours ({error}): "
                "make one with 'littlebig export --output DIR'"
            ) from error
        parameters = {name: value.string_value for name, value in config.parameters.items()}
        try:
            self._settings = self._preprocess.PreprocessSettings.from_parameters(config.output[0].dims[0], parameters)
        except ValueError as error:
            raise TableError(f"'{repository}/preprocess/config.pbtxt': {error}: export the repository again") from error
        self.decode = str(parameters["decode"])
        self.pair = str(provenance["pair"]["name"])
        self.classes = len((repository / "big" / "labels.txt").read_text(encoding="utf-8").splitlines())

    def canonical_image(self, path: Path) -> Array:
        """What both stages see of a picture, uint8 [H, W, 3].

        Raises:
            TableError: if the file is no picture, naming it.
        """
        try:
            return np.asarray(self._preprocess.canonical_image(path.read_bytes(), self._settings))
        except (OSError, self._preprocess.BadImage) as error:
            raise TableError(f"'{path}' {error}") from error


def _stage(repository: Path, stage: str, facts: dict[str, Any]) -> Stage:
    graph = repository / stage / "1" / "model.onnx"
    if not graph.is_file():
        raise FileNotFoundError(f"no {stage}/1/model.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    available = onnxruntime.get_available_providers()
    providers = [each for each in ("CUDAExecutionProvider", "CPUExecutionProvider") if each in available]
    session = onnxruntime.InferenceSession(str(graph), options, providers=providers)
    return Stage(str(facts["model"]), str(facts["weights"]["sha256"]), session)
