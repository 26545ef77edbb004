"""A folder of plans that machines of one kind share, each under a hash of everything that it depends on."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path

from littlebig_export.engine_key import EngineKey, key_file, read_key, write_key
from littlebig_export.errors import EngineError
from littlebig_export.files import write_atomically


def cached_plan(cache: Path, key: EngineKey) -> Path:
    """Where a cache keeps the plan with this key, whether it is there or not."""
    digest = hashlib.sha256(json.dumps(asdict(key), sort_keys=True).encode()).hexdigest()
    return cache / digest[:32] / "model.plan"


def take_plan(cache: Path, key: EngineKey, plan: Path) -> bool:
    """Copy a plan out of the cache, with its key beside it.

    Args:
        cache: the folder of the cache.
        key: what the plan has to be.
        plan: where it is wanted.

    Returns:
        Whether it was there, whole.

    Raises:
        EngineError: if it was there and cannot be copied.
    """
    there = cached_plan(cache, key)
    if read_key(there) != key:
        return False
    try:
        # Write the key last: a plan without a key is rebuilt, a plan with a wrong key would be served.
        key_file(plan).unlink(missing_ok=True)
        shutil.copyfile(there, plan)
    except OSError as reason:
        raise EngineError(f"cannot copy '{there}' to '{plan}': {reason.strerror}") from reason
    write_key(plan, key)
    return True


def keep_plan(cache: Path, key: EngineKey, data: bytes | memoryview) -> None:
    """Put a plan into the cache. Several machines may do so at a time: each leaves a whole plan with its own hash.

    Raises:
        EngineError: if it cannot be written.
    """
    there = cached_plan(cache, key)
    try:
        there.parent.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise EngineError(f"cannot write into the cache '{cache}': {reason.strerror}; give another --cache") from reason
    write_atomically(there, data)
    write_key(there, key)
