"""Finds configurations with which Triton may stall: a queue policy on a model with a single instance.

With any queue policy Triton 24.10 forms no batch before an instance is free. With one instance it may notice that only
after half a second: docs/known-issues.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2


def stall_warnings(repository: Path) -> Iterator[str]:
    """One line for each model whose requests may wait for half a second while nothing runs.

    Args:
        repository: the model repository. Unreadable configurations are skipped: Triton reports them.
    """
    for path in sorted(repository.glob("*/config.pbtxt")):
        try:
            config = text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
        except (OSError, ValueError, text_format.ParseError):
            continue
        if _has_policy(config.dynamic_batching) and _instances(config) == 1:
            yield (
                f"'{path}' has a queue policy and a single instance, so its requests may wait for half a second while "
                "nothing runs: set two instances, or remove the policy (dynamic_batching)"
            )


def _has_policy(batching: Any) -> bool:
    policies = (batching.default_queue_policy, *batching.priority_queue_policy.values())
    return batching.priority_levels > 0 or any(
        policy.max_queue_size or policy.allow_timeout_override or policy.default_timeout_microseconds
        for policy in policies
    )


def _instances(config: Any) -> int:
    """Triton's own count for one GPU; with more GPUs each has as many."""
    groups = [max(group.count, 1) * max(len(group.gpus), 1) for group in config.instance_group]
    return sum(groups) or 1
