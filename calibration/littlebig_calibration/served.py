"""The stages of a model repository, run without a server from the files that Triton serves.

A repository is the format between exporting and calibrating: graphs, preprocess code and settings, and littlebig.json,
which identifies the weights. So a calibration's accuracy is that of what is served.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from littlebig_calibration._arrays import Array
from littlebig_calibration.errors import TableError
from littlebig_contract.onnx_runtime import open_session
from littlebig_contract.preprocess_module import load_preprocess_module
from littlebig_contract.provenance import ProvenanceError, read_provenance
from littlebig_contract.stages import STAGES

OUTPUTS = ("label", "confidence", "margin", "probabilities")


@dataclass(frozen=True)
class RepositoryStage:
    """One stage of a repository.

    Attributes:
        name: the classifier's name.
        weights_sha256: the identity of its weights.
        session: an ONNX Runtime session of its graph.
    """

    name: str
    weights_sha256: str
    session: Any

    def predict(self, images: Array) -> dict[str, Array]:
        """`label`, `confidence` and `margin` [n] and `probabilities` [n, classes] of uint8 images [n, H, W, 3]."""
        return named_outputs(self.session.run(list(OUTPUTS), {"image": images}))


def named_outputs(arrays: Sequence[Array]) -> dict[str, Array]:
    """Name a stage's outputs, given in the order of OUTPUTS; those with one value per image become [n]."""
    *single, probabilities = arrays
    flat = {name: values.reshape(-1) for name, values in zip(OUTPUTS, single, strict=False)}
    return {**flat, "probabilities": probabilities}


# Facts of littlebig.json on which the graphs depend, beside the weights.
_EXPORT = ("target", "canonical_image", "precision", "versions", "made_by")


class ServedModels:
    """A repository's preprocessing and both its stages.

    Attributes:
        stages: little and big.
        class_names: the classes' names, in order.
        classes: how many.
        decode: how pictures are decoded, `scaled` or `full`.
        export: a hash of what littlebig.json says of the graphs; another export of the same has the same.
    """

    def __init__(self, repository: Path) -> None:
        """Open a repository that `littlebig export` wrote.

        Raises:
            TableError: if it is not one, or lacks its graphs.
        """
        try:
            provenance = read_provenance(repository)
            stages = provenance["stages"]
            exported = {name: provenance.get(name) for name in _EXPORT}
            self.export = hashlib.sha256(json.dumps(exported, sort_keys=True).encode()).hexdigest()
            self.stages = tuple(_stage(repository, stage, stages[stage]) for stage in STAGES)
            self._preprocess: Any = load_preprocess_module(repository)
            config = text_format.Parse(
                (repository / "preprocess" / "config.pbtxt").read_text(encoding="utf-8"), model_config_pb2.ModelConfig()
            )
        except ProvenanceError as reason:
            raise TableError(str(reason)) from reason
        except (OSError, ValueError, KeyError, TypeError, text_format.ParseError) as reason:
            raise TableError(
                f"'{repository}' is not a complete model repository ({reason}): "
                "make one with 'littlebig export --output DIR'"
            ) from reason
        parameters = {name: value.string_value for name, value in config.parameters.items()}
        try:
            self._settings = self._preprocess.PreprocessSettings.from_parameters(config.output[0].dims[0], parameters)
        except ValueError as reason:
            raise TableError(
                f"'{repository}/preprocess/config.pbtxt': {reason}: export the repository again"
            ) from reason
        self.decode = str(parameters["decode"])
        self.class_names = (repository / "big" / "labels.txt").read_text(encoding="utf-8").splitlines()
        self.classes = len(self.class_names)

    def canonical_image(self, path: Path) -> Array:
        """The canonical image of a picture file, uint8 [H, W, 3].

        Raises:
            TableError: naming the file, if it is not a picture.
        """
        try:
            return np.asarray(self._preprocess.canonical_image(path.read_bytes(), self._settings))
        except (OSError, self._preprocess.BadImage) as reason:
            raise TableError(f"'{path}' {reason}") from reason


def _stage(repository: Path, stage: str, facts: dict[str, Any]) -> RepositoryStage:
    if facts.get("remote"):
        raise TableError(
            f"'{repository}' leaves {stage} to the server '{facts['remote']}': predict with a repository that has both "
            "stages, or ask the served cascade with 'littlebig predict --url'"
        )
    graph = repository / stage / "1" / "model.onnx"
    if not graph.is_file():
        raise FileNotFoundError(f"no {stage}/1/model.onnx")
    return RepositoryStage(str(facts["model"]), str(facts["weights"]["sha256"]), open_session(graph))
