"""Renders stages for two servers: one that forwards to the other, and one that is served alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tritonclient.grpc import model_config_pb2

from littlebig_export.config_pbtxt import Config, read_config, set_parameter, write_config
from littlebig_export.errors import PairError
from littlebig_export.remote_stage.littlebig_remote_settings import BadSetting, RemoteSettings, stage_alias

__all__ = ["check_remote", "make_remote", "stage_alias", "write_alias"]

# What the rendered config says about its parameters.
_COMMENTS = {
    "url": "gRPC endpoint of the stage's server: HOST:PORT. Calls are spread over all addresses of the name.",
    "model": "The model and weights that the stage's server must have; one with others is refused.",
    "required": "Whether this server refuses to start while the stage's server does not answer.",
}


def check_remote(remote: Mapping[str, Mapping[str, str]], only: str | None) -> None:
    """Refuse a wrong connection before any work is done.

    Args:
        remote: stage -> parameters of its connection.
        only: the one stage of the repository, or None.

    Raises:
        PairError: naming the stage and what is wrong.
    """
    if only and remote:
        raise PairError(f"a repository of {only} alone calls no other server: leave out --only, or the address")
    for stage, parameters in remote.items():
        try:
            RemoteSettings.from_parameters(parameters)
        except BadSetting as reason:
            raise PairError(f"connection of {stage}: {reason}") from None


def make_remote(config: Config, parameters: Mapping[str, str]) -> None:
    """Put a model that forwards in the place of a stage's engine; its tensors stay.

    Args:
        config: the stage's, changed in place.
        parameters: of the connection.
    """
    message = config.message
    message.backend = "python"
    config.comments[""] = [
        f"# The {message.name} stage on another server: this model forwards batches by gRPC (docs/remote.md).",
    ]
    message.ClearField("optimization")
    message.ClearField("model_warmup")  # the load compares the models instead, and big's server may be absent
    message.dynamic_batching.ClearField("max_queue_delay_microseconds")
    config.comments["dynamic_batching[]"] = [
        "# Merges what arrived while a batch was being sent. The stage's server has a batcher of its own.",
    ]
    config.comments["max_batch_size"] = ["# At most what the stage's server takes."]
    group = message.instance_group[0]
    group.kind, group.count = model_config_pb2.ModelInstanceGroup.KIND_CPU, 1
    config.comments["instance_group[]/count"] = ["# One: it only sends, and any number of batches may be under way."]
    for name, value in {"required": str(message.name == "little").lower(), **parameters}.items():
        set_parameter(message, name, value)
    for name, text in _COMMENTS.items():
        config.comments[f"parameters[{name}]"] = [f"# {text}"]


def write_alias(repository: Path, stage: str, alias: str) -> None:
    """Write the ensemble under whose name other servers ask for a stage.

    Its name holds the weights' hash, so a request can be answered by these weights only.

    Args:
        repository: has the stage already.
        stage: `little` or `big`.
        alias: from `stage_alias`.
    """
    served = read_config(repository / stage / "config.pbtxt").message
    message = model_config_pb2.ModelConfig(
        name=alias, platform="ensemble", max_batch_size=served.max_batch_size, input=served.input, output=served.output
    )
    for output in message.output:
        output.ClearField("label_filename")
    step = message.ensemble_scheduling.step.add(model_name=stage, model_version=-1)
    for tensor in served.input:
        step.input_map[tensor.name] = tensor.name
    for output in served.output:
        step.output_map[output.name] = output.name
    for name in ("model", "weights_sha256"):
        set_parameter(message, name, served.parameters[name].string_value)
    comment = [
        f"# The name under which other servers ask for the {stage} stage (docs/remote.md). It holds the first digits",
        "# of the weights' SHA-256, so that no other weights can answer.",
    ]
    folder = repository / alias
    (folder / "1").mkdir(parents=True)
    (folder / "1" / ".keep").touch()  # git and object stores lose empty folders
    (folder / "config.pbtxt").write_text(write_config(Config(message, {"": comment})), encoding="utf-8")
