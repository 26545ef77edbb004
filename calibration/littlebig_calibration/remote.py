"""The stages of a running server, asked over gRPC: for whoever has the server and not its files."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from littlebig_calibration._arrays import Array
from littlebig_calibration.errors import TableError
from littlebig_calibration.served import OUTPUTS, STAGES, named_outputs

# Seconds: a stage may have to load first, and a batch on a busy CPU takes a while.
_TIMEOUT = 120.0


class RemoteModels:
    """A server's preprocessing and both its stages.

    Attributes:
        stages: little and big.
        classes: how many there are.
        decode: how the server's preprocess decodes pictures, `scaled` or `full`; None if an older one does not say.
    """

    def __init__(self, url: str) -> None:
        """Ask a server which models it serves.

        Args:
            url: its gRPC endpoint, HOST:PORT.

        Raises:
            TableError: if no server answers there, or it lacks one of our models.
        """
        self._url = url
        self._of_thread = threading.local()
        configs = {stage: self._config(stage) for stage in (*STAGES, "preprocess")}
        self.stages = tuple(_stage(self, stage, configs[stage]) for stage in STAGES)
        probabilities = next(output for output in configs["big"].output if output.name == "probabilities")
        self.classes = int(probabilities.dims[0])
        parameters = configs["preprocess"].parameters
        self.decode = str(parameters["decode"].string_value) if "decode" in parameters else None

    def canonical_image(self, path: Path) -> Array:
        """What both stages see of a picture, uint8 [H, W, 3]; may be called by several threads.

        Raises:
            TableError: if the file is no picture, naming it.
        """
        try:
            content = path.read_bytes()
        except OSError as reason:
            raise TableError(f"'{path}' {reason}") from reason
        picture = tritonclient.grpc.InferInput("encoded_image", [1, 1], "BYTES")
        picture.set_data_from_numpy(np.array([[content]], dtype=object))
        try:
            return np.asarray(self.infer("preprocess", picture, ("image",)).as_numpy("image")[0])
        except InferenceServerException as reason:
            raise TableError(f"'{path}' {reason.message()}") from reason

    def infer(self, model: str, tensor: Any, outputs: tuple[str, ...]) -> Any:
        """Ask one model; the answer is tritonclient's.

        Raises:
            InferenceServerException: if the server says so, or does not answer in time.
        """
        wanted = [tritonclient.grpc.InferRequestedOutput(name) for name in outputs]
        return self._client().infer(model, [tensor], outputs=wanted, client_timeout=_TIMEOUT)

    def _client(self) -> Any:
        # tritonclient promises nothing about several threads on one client.
        if not hasattr(self._of_thread, "client"):
            self._of_thread.client = tritonclient.grpc.InferenceServerClient(self._url)
        return self._of_thread.client

    def _config(self, model: str) -> Any:
        try:
            return self._client().get_model_config(model, client_timeout=10).config
        except InferenceServerException as reason:
            raise TableError(
                f"no Triton server with our model '{model}' answers gRPC at {self._url} "
                f"({reason.message() or reason.status()}): start one with 'littlebig serve', or give --repository"
            ) from None


@dataclass(frozen=True)
class RemoteStage:
    """One stage of a server: its model's name and the identity of its weights, as its configuration says."""

    name: str
    weights_sha256: str | None
    stage: str
    max_batch_size: int
    server: RemoteModels

    def answer(self, images: Array) -> dict[str, Array]:
        """`label`, `confidence` and `margin` [n] and `probabilities` [n, classes] of uint8 images [n, H, W, 3].

        Raises:
            TableError: if the stage fails.
        """
        parts = [self._ask(images[at : at + self.max_batch_size]) for at in range(0, len(images), self.max_batch_size)]
        return named_outputs([np.concatenate(columns) for columns in zip(*parts, strict=True)])

    def _ask(self, images: Array) -> list[Array]:
        tensor = tritonclient.grpc.InferInput("image", list(images.shape), "UINT8")
        tensor.set_data_from_numpy(images)
        try:
            result = self.server.infer(self.stage, tensor, OUTPUTS)
        except InferenceServerException as reason:
            raise TableError(f"stage '{self.stage}' failed: {reason.message()}") from reason
        return [result.as_numpy(name) for name in OUTPUTS]


def _stage(server: RemoteModels, stage: str, config: Any) -> RemoteStage:
    said = {name: value.string_value for name, value in config.parameters.items()}
    return RemoteStage(
        said.get("model", stage), said.get("weights_sha256"), stage, max(config.max_batch_size, 1), server
    )
