"""Finds configurations with which Triton may stall: a queue policy with a single instance, or with a queue delay.

With any queue policy Triton 24.10 forms no batch before an instance is free. With one instance it may notice that only
after half a second. With a queue delay beside the policy, a batcher before 26.08 may starve until its model is loaded
again, according to NVIDIA's release notes: docs/known-issues.md.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

_FIXED_RELEASE = (26, 8)


def stall_warnings(repository: Path) -> Iterator[str]:
    """One line for each reason why a model's requests may wait while nothing runs.

    Args:
        repository: the model repository. Unreadable configurations are skipped: Triton reports them.
    """
    for path in sorted(repository.glob("*/config.pbtxt")):
        try:
            config = text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
        except (OSError, ValueError, text_format.ParseError):
            continue
        if not _has_policy(config.dynamic_batching):
            continue
        if config.dynamic_batching.max_queue_delay_microseconds and _may_starve(os.environ):
            yield (
                f"'{path}' has a queue policy and a queue delay, with which Triton before 26.08 may stop forming "
                "batches until the model is loaded again: remove max_queue_delay_microseconds or the policy "
                "(dynamic_batching), or use a newer Triton"
            )
        if _instances(config) == 1:
            yield (
                f"'{path}' has a queue policy and a single instance, so its requests may wait for half a second while "
                "nothing runs: set two instances, or remove the policy (dynamic_batching)"
            )


def _may_starve(environment: Mapping[str, str]) -> bool:
    """Whether the Triton here is older than 26.08, or of unknown age: NVIDIA's images name their release."""
    release = re.fullmatch(r"(\d+)\.(\d+)", environment.get("NVIDIA_TRITON_SERVER_VERSION", ""))
    return release is None or (int(release[1]), int(release[2])) < _FIXED_RELEASE


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
