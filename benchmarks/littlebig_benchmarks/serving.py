"""Serves the model repositories of a benchmark, and inspects a running server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException

from littlebig_benchmarks.endpoint import Endpoint, Plain
from littlebig_benchmarks.errors import ScenarioError, ServerNotReached
from littlebig_contract.stages import STAGES
from littlebig_server import ServerSettings, TritonServer

_HERE = Path(__file__).parent
_TEXTBOOK = _HERE / "baselines" / "textbook"
_NOTHING = _HERE / "stages_that_do_nothing"
# Stages that do nothing answer a confidence of 0 or 1; the threshold is far from both.
NOTHING_THRESHOLD = 0.5
# Of a gate whose config.pbtxt names none.
_DEFAULT_SCORE = "confidence"


@dataclass(frozen=True)
class Served:
    """A running server.

    Attributes:
        endpoint: its gRPC endpoint.
        pid: of tritonserver; None where we did not start it.
        repository: the pair's own repository; None where it is not known.
        threshold: of `little_big`.
        score: the output of little that is compared with it: `confidence` or `margin`.
        shape: of the canonical image: H, W, 3.
        models: names of the models that are ready.
        version: of tritonserver.
    """

    endpoint: Endpoint
    pid: int | None
    repository: Path | None
    threshold: float
    score: str
    shape: tuple[int, ...]
    models: tuple[str, ...]
    version: str

    @property
    def url(self) -> str:
        """HOST:PORT of the gRPC endpoint."""
        return self.endpoint.url


@contextmanager
def serving(repository: Path, variants: Mapping[str, Path], folder: Path, server: Path | None) -> Iterator[Served]:
    """Serve a pair's models, with the textbook gate and the variants beside them.

    Args:
        repository: as `littlebig export` writes it; it is linked, not changed.
        variants: name -> folder of another gate.
        folder: an empty one, for the repository that is served.
        server: the tritonserver binary; None to find one.

    Raises:
        ScenarioError: if the repository lacks a stage or the gate.
        ServerError: if it cannot be served.
    """
    gate = _gate(repository)
    for model in sorted(path for path in repository.iterdir() if (path / "config.pbtxt").is_file()):
        (folder / model.name).symlink_to(model.absolute())
    _write_gates(folder, gate, variants)
    with TritonServer(folder, _settings(server)) as running:
        yield inspect(Plain(running.grpc_url), running.pid, repository)


@contextmanager
def serving_stages_that_do_nothing(
    repository: Path, variants: Mapping[str, Path], folder: Path, server: Path | None
) -> Iterator[Served]:
    """Serve the same gates over stages that answer at once, with images of 260 x 260; see `serving`."""
    gate = _gate(repository)
    stage = _read(_NOTHING / "config.pbtxt")
    image, probabilities = stage.input[0].dims, stage.output[3].dims
    for name in STAGES:
        stage.name = name
        _write(folder / name, stage, _NOTHING / "model.py")
    for tensor in (*gate.input, *gate.output):
        if tensor.name == "image":
            tensor.dims[:] = image
        elif tensor.name == "probabilities":
            tensor.dims[:] = probabilities
            tensor.ClearField("label_filename")
    gate.parameters["threshold"].string_value = str(NOTHING_THRESHOLD)
    _set_score(gate, "confidence")
    _write(folder / "little_big", gate, *sorted((repository / "little_big" / "1").glob("*.py")))
    _write_gates(folder, gate, variants)
    with TritonServer(folder, _settings(server)) as running:
        yield inspect(Plain(running.grpc_url), running.pid, None)


def _settings(server: Path | None) -> ServerSettings:
    """perf_analyzer passes images through system shared memory."""
    return ServerSettings(tritonserver=server, model="little_big", client_shared_memory=True)


def write_gate_with_target(repository: Path, folder: Path, latency_target_ms: float, queue_timeout_ms: float) -> None:
    """Write a repository's gate with another latency target, and a time limit for its queue.

    Args:
        repository: as `littlebig export` writes it.
        folder: for config.pbtxt and 1/; must not exist.
        latency_target_ms: the gate's parameter, in milliseconds.
        queue_timeout_ms: time limit of Triton's queue policy: requests that wait longer for the gate are rejected.

    Raises:
        ScenarioError: if the repository lacks a stage or the gate.
    """
    gate = _gate(repository)
    gate.parameters["latency_target_ms"].string_value = f"{latency_target_ms:g}"
    policy = gate.dynamic_batching.default_queue_policy
    policy.default_timeout_microseconds = round(queue_timeout_ms * 1e3)
    _write(folder, gate, *sorted((repository / "little_big" / "1").glob("*.py")))


def most_images_at_once(repository: Path) -> int:
    """The number of images in full batches of all the gate's instances.

    Raises:
        ScenarioError: if the repository lacks a stage or the gate.
    """
    gate = _gate(repository)
    return int(gate.max_batch_size * sum(group.count for group in gate.instance_group))


def inspect(endpoint: Endpoint, pid: int | None = None, repository: Path | None = None) -> Served:
    """Read from a running server what it serves.

    Raises:
        ServerNotReached: if nothing that speaks Triton's gRPC answers there, or it has no `little_big`.
    """
    try:
        with endpoint.open() as client:
            about = client.get_server_metadata(client_timeout=10)
            # The repository's index is closed to clients; statistics list the models that are loaded.
            loaded = client.get_inference_statistics(client_timeout=10).model_stats
            models = tuple(sorted({model.name for model in loaded}))
            if "little_big" not in models:
                raise ServerNotReached(
                    f"the server at {endpoint.url} has no model 'little_big' that is ready, only "
                    f"{', '.join(models) or 'none'}: serve a repository of littlebig there"
                )
            config = client.get_model_config("little_big", client_timeout=10).config
    except InferenceServerException as reason:
        raise ServerNotReached(
            f"no Triton server answers gRPC at {endpoint.url} ({reason.message() or reason.status()}): start one with "
            "'littlebig serve', or leave out --url"
        ) from None
    threshold = float(config.parameters["threshold"].string_value)
    return Served(
        endpoint, pid, repository, threshold, _score(config), tuple(config.input[0].dims), models, str(about.version)
    )


def _score_parameter(gate: Any) -> str:
    """The name of a gate's parameter for its score; gates of version 0.1.0 call it `gate`."""
    return "gate" if "gate" in gate.parameters else "score"


def _score(gate: Any) -> str:
    name = _score_parameter(gate)
    return str(gate.parameters[name].string_value) if name in gate.parameters else _DEFAULT_SCORE


def _set_score(gate: Any, score: str) -> None:
    name = _score_parameter(gate)
    if name in gate.parameters or score != _DEFAULT_SCORE:
        gate.parameters[name].string_value = score


def _gate(repository: Path) -> Any:
    for model in (*STAGES, "little_big"):
        if not (repository / model / "config.pbtxt").is_file():
            raise ScenarioError(
                f"'{repository}' has no model '{model}': make a repository with 'littlebig export --output DIR'"
            )
    return _read(repository / "little_big" / "config.pbtxt")


def _write_gates(folder: Path, gate: Any, variants: Mapping[str, Path]) -> None:
    """The textbook gate and the variants, for the same images, classes, score and threshold as `little_big`."""
    _write(folder / "textbook", _like(_read(_TEXTBOOK / "config.pbtxt"), gate), _TEXTBOOK / "model.py")
    for name, source in variants.items():
        config = _like(_read(source / "config.pbtxt"), gate)
        config.name = name
        _write(folder / name, config, *sorted((source / "1").glob("*.py")))


def _like(config: Any, gate: Any) -> Any:
    dims = {tensor.name: tensor.dims for tensor in (*gate.input, *gate.output)}
    for tensor in (*config.input, *config.output):
        tensor.dims[:] = dims.get(tensor.name, tensor.dims)
        if tensor.name == "probabilities":
            tensor.ClearField("label_filename")
    config.parameters["threshold"].string_value = gate.parameters["threshold"].string_value
    _set_score(config, _score(gate))
    return config


def _read(path: Path) -> Any:
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except text_format.ParseError as reason:
        raise ScenarioError(f"'{path}' is not a model configuration: {' '.join(str(reason).split())}") from None


def _write(folder: Path, config: Any, *code: Path) -> None:
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(text_format.MessageToString(config), encoding="utf-8")
    for source in code:
        shutil.copyfile(source, folder / "1" / source.name)
