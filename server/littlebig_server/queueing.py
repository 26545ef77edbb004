"""A trap in a model repository: a queue policy and a single instance, with which Triton may stand still.

With any queue policy Triton (24.10; `support_prefetching_` in its core's scheduler_utils.cc) forms no batch before an
instance is free, and where that is the only one it may look again only after half a second: docs/gate-experiments.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2


def standing_still(repository: Path) -> Iterator[str]:
    """One line for each model of a repository whose requests may wait for half a second while nothing runs.

    Args:
        repository: the model repository. What is no model configuration is passed over: Triton says why it is none.
    """
    for path in sorted(repository.glob("*/config.pbtxt")):
        try:
            config = text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
        except (OSError, ValueError, text_format.ParseError):
            continue
        if _has_policy(config.dynamic_batching) and _instances(config) == 1:
            yield (
                f"'{path}' has a queue policy and a single instance, with which Triton may let requests wait for half "
                "a second while nothing runs: give it two instances, or take the policy out (dynamic_batching)"
            )


def _has_policy(batching: Any) -> bool:
    policies = (batching.default_queue_policy, *batching.priority_queue_policy.values())
    return batching.priority_levels > 0 or any(
        policy.max_queue_size or policy.allow_timeout_override or policy.default_timeout_microseconds
        for policy in policies
    )


def _instances(config: Any) -> int:
    """As Triton counts them, with one GPU where none is named: on more, each has as many."""
    groups = [max(group.count, 1) * max(len(group.gpus), 1) for group in config.instance_group]
    return sum(groups) or 1
