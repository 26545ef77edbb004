"""calibration.json: reads and writes a `Calibration`."""

import dataclasses
import json
import math
import re
import types
import typing
from pathlib import Path
from typing import Any

from littlebig_calibration.errors import EvidenceError
from littlebig_calibration.evidence import Calibration
from littlebig_contract.files import replacing

FORMAT = "littlebig-calibration"
FORMAT_VERSION = 2

# A list of numbers over several lines. A JSON string holds no line break, so nothing inside a string matches.
_FIGURES = re.compile(r"\[\n[\s\d.,eE+-]*\]")


def to_json(calibration: Calibration) -> str:
    """The calibration as JSON text, every figure in full; a list of figures stands on one line."""
    head = {"format": FORMAT, "format_version": FORMAT_VERSION}
    text = json.dumps({**head, **dataclasses.asdict(calibration)}, indent=1, allow_nan=False)
    return _FIGURES.sub(lambda figures: re.sub(r"\s+", " ", figures[0]), text) + "\n"


def from_json(text: str) -> Calibration:
    """Read a calibration strictly: unknown, missing and ill-typed fields are refused.

    Args:
        text: what `to_json` wrote.

    Raises:
        EvidenceError: naming the field.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise EvidenceError(f"not JSON: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise EvidenceError(f'not a calibration: no "format": "{FORMAT}"')
    if data.get("format_version") != FORMAT_VERSION:
        raise EvidenceError(
            f"format version {data.get('format_version')}, this littlebig reads {FORMAT_VERSION}: calibrate again"
        )
    fields = {name: value for name, value in data.items() if name not in ("format", "format_version")}
    calibration = _build(Calibration, fields, "calibration")
    assert isinstance(calibration, Calibration)  # noqa: S101  (for the type checker: _build returns this type)
    return calibration


def read_calibration(path: Path) -> Calibration:
    """Read a calibration file.

    Raises:
        EvidenceError: naming the file, if it cannot be read or is no calibration.
    """
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise EvidenceError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except EvidenceError as error:
        raise EvidenceError(f"{path}: {error}") from error


def write_text(text: str, path: Path) -> None:
    """Write a text file; it appears whole or not at all.

    Raises:
        EvidenceError: if it cannot be written.
    """
    try:
        with replacing(path) as partial:
            partial.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EvidenceError(f"cannot write {path}: {error.strerror}") from error


def _build(kind: Any, value: Any, where: str) -> Any:
    """Convert a JSON value to the annotated type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return (
            None if value is None else _build(next(item for item in arguments if item is not type(None)), value, where)
        )
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise EvidenceError(f"{where} is not a list")
        if arguments[-1] is not Ellipsis and len(value) != len(arguments):
            raise EvidenceError(f"{where} has {len(value)} entries, not {len(arguments)}")
        return tuple(_build(arguments[0], item, where) for item in value)
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if kind in (int, str) and isinstance(value, kind) and not isinstance(value, bool):
        return value
    raise EvidenceError(f"{where} is {value!r}, not of type {getattr(kind, '__name__', kind)}")


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise EvidenceError(f"{where} is not an object")
    hints = typing.get_type_hints(kind)
    if missing := sorted(set(hints) - set(value)):
        raise EvidenceError(f"{where}.{missing[0]} is missing")
    if unknown := sorted(set(value) - set(hints)):
        raise EvidenceError(f"{where}.{unknown[0]} is not a known field")
    return kind(**{name: _build(hint, value[name], f"{where}.{name}") for name, hint in hints.items()})
