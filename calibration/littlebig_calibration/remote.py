"""The stages of a running server, asked over gRPC."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from littlebig_calibration._arrays import Array
from littlebig_calibration.errors import TableError
from littlebig_calibration.served import OUTPUTS, named_outputs
from littlebig_contract.stages import STAGES

# Long enough for a batch on a busy CPU.
_TIMEOUT_S = 120.0
_CONFIG_TIMEOUT_S = 10.0


class RemoteModels:
    """A server's preprocessing and both its stages.

    Attributes:
        stages: little and big.
        classes: the number of classes.
        class_names: None, because the server is not asked for them.
        decode: how the server decodes pictures, `scaled` or `full`; None if it does not say.
        export: None, because the server does not say.
    """

    def __init__(self, url: str, connect: Callable[[], Any] | None = None) -> None:
        """Read the server's model configurations.

        Args:
            url: its gRPC endpoint, HOST:PORT.
            connect: makes a tritonclient `InferenceServerClient` of it, for TLS and the like; plain text by default.

        Raises:
            TableError: if no server answers there, or it lacks one of our models.
        """
        self._url = url
        self._connect = connect or (lambda: tritonclient.grpc.InferenceServerClient(url))
        self._local = threading.local()
        configs = {model: self._config(model) for model in (*STAGES, "preprocess")}
        self.stages = tuple(_stage(self, stage, configs[stage]) for stage in STAGES)
        probabilities = next(output for output in configs["big"].output if output.name == "probabilities")
        self.classes = int(probabilities.dims[0])
        self.class_names = None
        self.export = None
        parameters = configs["preprocess"].parameters
        self.decode = str(parameters["decode"].string_value) if "decode" in parameters else None

    def canonical_image(self, path: Path) -> Array:
        """The canonical image of a picture file, uint8 [H, W, 3]; may be called from several threads.

        Raises:
            TableError: naming the file, if it is not a picture.
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
        """Call one model.

        Args:
            model: its name.
            tensor: its input, a tritonclient `InferInput`.
            outputs: names of the outputs wanted.

        Returns:
            tritonclient's `InferResult`.

        Raises:
            InferenceServerException: if the server reports an error, or does not answer in time.
        """
        requested = [tritonclient.grpc.InferRequestedOutput(name) for name in outputs]
        return self._client().infer(model, [tensor], outputs=requested, client_timeout=_TIMEOUT_S)

    def _client(self) -> Any:
        # One client per thread: tritonclient's are not thread-safe.
        if not hasattr(self._local, "client"):
            self._local.client = self._connect()
        return self._local.client

    def _config(self, model: str) -> Any:
        try:
            return self._client().get_model_config(model, client_timeout=_CONFIG_TIMEOUT_S).config
        except InferenceServerException as reason:
            raise TableError(
                f"no Triton server with our model '{model}' answers gRPC at {self._url} "
                f"({reason.message() or reason.status()}): start one with 'littlebig serve', or give --repository"
            ) from None


@dataclass(frozen=True)
class RemoteStage:
    """One stage of a server.

    Attributes:
        name: the classifier's name.
        weights_sha256: the identity of its weights, from the model's configuration.
        stage: `little` or `big`.
        max_batch_size: images per request at most.
        server: the server to call.
    """

    name: str
    weights_sha256: str | None
    stage: str
    max_batch_size: int
    server: RemoteModels

    def predict(self, images: Array) -> dict[str, Array]:
        """`label`, `confidence` and `margin` [n] and `probabilities` [n, classes] of uint8 images [n, H, W, 3].

        Raises:
            TableError: if the stage fails.
        """
        size = self.max_batch_size
        batches = [self._infer(images[start : start + size]) for start in range(0, len(images), size)]
        return named_outputs([np.concatenate(columns) for columns in zip(*batches, strict=True)])

    def _infer(self, images: Array) -> list[Array]:
        tensor = tritonclient.grpc.InferInput("image", list(images.shape), "UINT8")
        tensor.set_data_from_numpy(images)
        try:
            result = self.server.infer(self.stage, tensor, OUTPUTS)
        except InferenceServerException as reason:
            raise TableError(f"stage '{self.stage}' failed: {reason.message()}") from reason
        return [result.as_numpy(name) for name in OUTPUTS]


def _stage(server: RemoteModels, stage: str, config: Any) -> RemoteStage:
    parameters = {name: value.string_value for name, value in config.parameters.items()}
    return RemoteStage(
        parameters.get("model", stage), parameters.get("weights_sha256"), stage, max(config.max_batch_size, 1), server
    )
