"""Reads and writes config.pbtxt as `ModelConfig` messages without losing the comments that explain them.

Protobuf's text format drops comments. Here each comment has lines of its own, above the field that it explains; it is
kept under that field's path and written back above it. Removing a field removes its comment.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from littlebig_export.errors import RepositoryError

INDENT = "  "
_OPENS = re.compile(r"^(\w+) \{$")
_FIELD = re.compile(r"^(\w+): (.*)$")
_IDENTITY = re.compile(r'^(?:name|key|model_name): "(.*)"$')


def reference_repository() -> Path:
    """The checked-in model repository: at the top of a checkout, inside the package in an installed wheel."""
    package = Path(__file__).parent
    packaged = package / "model_repository"
    return packaged if packaged.is_dir() else package.parents[1] / "model_repository"


@dataclass
class Config:
    """A model's configuration with its comments.

    Attributes:
        message: the `ModelConfig`.
        comments: path of a field -> the comment lines above it, without indentation; the path "" is the file's head.
    """

    message: model_config_pb2.ModelConfig
    comments: dict[str, list[str]] = field(default_factory=dict)


def read_config(path: Path) -> Config:
    """Read a config.pbtxt.

    Raises:
        RepositoryError: if it is not a valid ModelConfig.
    """
    text = path.read_text(encoding="utf-8")
    message = model_config_pb2.ModelConfig()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as reason:
        raise RepositoryError(f"{path}: {reason}") from reason
    lines = text.splitlines()
    paths = _paths(lines)
    config = Config(message)
    block: list[str] = []
    for number, line in enumerate(lines):
        stripped = line.strip()
        if stripped.startswith("#"):
            block.append(stripped)
        elif not stripped and block and not config.comments:
            config.comments[""], block = block, []
        elif stripped and block:
            config.comments[paths[number]], block = block, []
    return config


def write_config(config: Config) -> str:
    """The text of a config.pbtxt: protobuf's own layout, comments above their fields, a blank line above each block."""
    lines = text_format.MessageToString(config.message, use_short_repeated_primitives=True).splitlines()
    # Protobuf writes fields by number, `backend` last; a reader wants to know it first.
    lines.sort(key=lambda line: not line.startswith(("name:", "backend:", "platform:")))
    paths = _paths(lines)
    written = [*config.comments.get("", []), ""] if "" in config.comments else []
    for number, line in enumerate(lines):
        indent = line[: len(line) - len(line.lstrip())]
        comment = config.comments.get(paths[number], [])
        if not indent and (comment or line.endswith("{")) and written and written[-1] != "":
            written.append("")
        written += [f"{indent}{text}" for text in comment]
        written.append(line)
    return "\n".join(written) + "\n"


def set_parameter(message: model_config_pb2.ModelConfig, name: str, value: object) -> None:
    """Set one of the `parameters` that Triton hands to a backend as text."""
    message.parameters[name].string_value = str(value)


def _paths(lines: list[str]) -> list[str]:
    """The path of the field on each line: names joined by `/`, repeated blocks distinguished by their name or key."""
    paths: list[str] = []
    stack: list[str] = []
    seen: Counter[str] = Counter()
    for number, line in enumerate(lines):
        text = line.strip()
        opens, value = _OPENS.match(text), _FIELD.match(text)
        name = ""
        if opens:
            name = f"{opens.group(1)}[{_identity(lines, number)}]"
        elif value:
            name = value.group(1)
        path = "/".join([*stack, name])
        seen[path] += 1
        if seen[path] > 1:
            path += f"#{seen[path]}"
        paths.append(path)
        if opens:
            stack.append(path.rsplit("/", 1)[-1])
        elif text == "}":
            stack.pop()
    return paths


def _identity(lines: list[str], opening: int) -> str:
    for line in lines[opening + 1 :]:
        if line.strip().startswith("#"):
            continue
        identity = _IDENTITY.match(line.strip())
        return identity.group(1) if identity else ""
    return ""
