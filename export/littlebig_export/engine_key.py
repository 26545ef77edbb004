"""The key of a plan: a file beside it that says what it was built from and for, so that no plan is loaded to check."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from littlebig_export.errors import EngineError
from littlebig_export.files import write_atomically

# Field -> what people call it. The first group is what the repository asks for, the second is the machine.
_ASKED = {
    "graph_sha256": "graph",
    "precision": "precision",
    "profile": "profile",
    "hardware_compatible": "--hardware-compatible",
    "version_compatible": "--version-compatible",
}
_MACHINE = {"tensorrt": "TensorRT", "gpu": "GPU", "compute_capability": "compute capability"}
_AMPERE = (8, 0)


@dataclass(frozen=True)
class EngineKey:
    """Everything that a plan depends on.

    Attributes:
        graph_sha256: of the ONNX file, with its external weights.
        precision: of the backbone.
        profile: smallest:best:largest batch.
        hardware_compatible: for any GPU from Ampere on.
        version_compatible: for later TensorRT versions of the same major one.
        tensorrt: version of the library, not of its bindings.
        gpu: name.
        compute_capability: `8.9` for instance.
    """

    graph_sha256: str
    precision: str
    profile: str
    hardware_compatible: bool
    version_compatible: bool
    tensorrt: str
    gpu: str
    compute_capability: str


def key_file(plan: Path) -> Path:
    """Where a plan's key is: beside it."""
    return plan.with_name(f"{plan.name}.json")


def write_key(plan: Path, key: EngineKey) -> None:
    """Write a plan's key, with the plan's own hash, so that a key never speaks for another plan.

    Raises:
        EngineError: if it cannot be written.
    """
    content = {"format": 1, **asdict(key), "plan_sha256": hash_file(plan)}
    write_atomically(key_file(plan), (json.dumps(content, indent=2) + "\n").encode())


def read_key(plan: Path) -> EngineKey | None:
    """The key of the plan that is there; None if there is no plan, or no key that speaks for it."""
    try:
        content = json.loads(key_file(plan).read_text(encoding="utf-8"))
        if content.pop("plan_sha256") != hash_file(plan):
            return None
        return EngineKey(**{field.name: content[field.name] for field in fields(EngineKey)})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def asked_differently(there: EngineKey, here: EngineKey) -> str:
    """What the repository asks for now and the plan was not built from, for people; empty if nothing."""
    return _differences(there, here, _ASKED)


def made_elsewhere(there: EngineKey, here: EngineKey) -> str:
    """What of this machine the plan was not built for, for people; empty if it runs here."""
    ignored = set()
    if there.hardware_compatible and _numbers(here.compute_capability) >= _AMPERE:
        ignored |= {"gpu", "compute_capability"}
    ours, theirs = _numbers(here.tensorrt), _numbers(there.tensorrt)
    if there.version_compatible and ours[0] == theirs[0] and ours >= theirs:
        ignored |= {"tensorrt"}
    return _differences(there, here, {name: word for name, word in _MACHINE.items() if name not in ignored})


def hash_graph(graph: Path) -> str:
    """SHA-256 of an ONNX file and of the weights beside it, if it keeps them apart."""
    external = graph.with_name(f"{graph.name}.data")
    digests = [hash_file(path) for path in (graph, external) if path.is_file()]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def hash_file(path: Path) -> str:
    """SHA-256 of a file, read in pieces.

    Raises:
        OSError: if it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _differences(there: EngineKey, here: EngineKey, names: dict[str, str]) -> str:
    differences = []
    for name, word in names.items():
        old, new = getattr(there, name), getattr(here, name)
        if old != new:
            differences.append(f"{word} {_short(old)} there, {_short(new)} here")
    return "; ".join(differences)


def _short(value: str | bool) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return value[:12] if len(value) == 64 else value


def _numbers(version: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in version.split("."))
    except ValueError:
        raise EngineError(f"'{version}' in a plan's key is no version; build it again with --force") from None
