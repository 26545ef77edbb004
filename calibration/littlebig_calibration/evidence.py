"""A calibration with its evidence, as it travels with a pair: frozen dataclasses and their JSON file."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import types
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from littlebig_calibration.errors import EvidenceError

FORMAT = "littlebig-calibration"
FORMAT_VERSION = 1
MAX_POINTS = 200


@dataclass(frozen=True)
class SourceFile:
    """A table or label file: its name and the SHA-256 of its bytes."""

    name: str
    sha256: str


@dataclass(frozen=True)
class DataSet:
    """The labelled images. `tuning_images` of them (drawn with `split_seed`) chose, the others certified.

    `classes` counts the classes that occur among the labels.
    """

    name: str
    images: int
    classes: int
    tuning_images: int
    split_seed: int
    sources: tuple[SourceFile, ...]


@dataclass(frozen=True)
class Model:
    """A model by name and, where the table carries it, by the SHA-256 of its weights."""

    name: str
    weights_sha256: str | None


@dataclass(frozen=True)
class Estimate:
    """A rate, with an interval at the calibration's confidence level."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Guarantee:
    """With this confidence, over draws of the labelled images, no more accuracy is lost against big's."""

    max_accuracy_loss: float
    confidence_level: float


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold does. None as threshold: every image goes to big, and little need not run.

    `escalation_rate` has the exact interval for this very threshold; `escalation_if_repeated` the bootstrap
    interval of the rates that this rule would have chosen on other draws of as many images. `disagreement` is the
    fraction of the images left to little on which big has another label, what an audit of served images would find;
    None where no image is left to little.
    """

    threshold: float | None
    escalation_rate: Estimate
    accuracy: Estimate
    escalation_if_repeated: tuple[float, float] | None
    disagreement: float | None
    cost: float | None
    cost_reduction: float | None


@dataclass(frozen=True)
class Costs:
    """Cost of one image per model, in `unit` (MACs, seconds: whatever both were given in)."""

    little: float
    big: float
    unit: str


@dataclass(frozen=True)
class CurvePoints:
    """The cascade curve, thinned. The last threshold is None: every image is escalated."""

    threshold: tuple[float | None, ...]
    escalation_rate: tuple[float, ...]
    accuracy: tuple[float, ...]


@dataclass(frozen=True)
class Calibration:
    """A chosen threshold with everything needed to judge it, and to refuse it for other weights.

    Attributes:
        littlebig_version: of the program that made it.
        created: date and time, ISO 8601, UTC.
        data: the labelled images.
        little: the little model.
        big: the big model.
        rule: `certified`, `paper` or `max-escalation`.
        guarantee: what was proved; None for the paper's rule, or if nothing could be proved.
        max_escalation: the cost target that the rule `max-escalation` kept; None for the others.
        gate: `confidence` or `margin`: the score compared with the threshold.
        answer: `big`, or `arbitrate`: little's answer stands where its logit leads by more than `offset`.
        offset: the arbitration's; None for `big`.
        chosen: the operating point to serve. Its threshold None means the policy `big`.
        paper: the paper's rule on the same images, for comparison.
        accuracy_little: the little model alone.
        accuracy_big: the big model alone.
        costs: None if none were given.
        labels_needed: where nothing could be proved, how many labels would probably do; an estimate.
        notes: what the user should know, one sentence each.
        curve: at most 200 points, the chosen one and the paper's among them.
    """

    littlebig_version: str
    created: str
    data: DataSet
    little: Model
    big: Model
    rule: str
    guarantee: Guarantee | None
    max_escalation: float | None
    gate: str
    answer: str
    offset: float | None
    chosen: OperatingPoint
    paper: OperatingPoint
    accuracy_little: Estimate
    accuracy_big: Estimate
    costs: Costs | None
    labels_needed: int | None
    notes: tuple[str, ...]
    curve: CurvePoints

    def __post_init__(self) -> None:
        """Refuse what no calibration can say."""
        for name, allowed in (
            ("rule", ("certified", "paper", "max-escalation")),
            ("gate", ("confidence", "margin")),
            ("answer", ("big", "arbitrate")),
        ):
            if getattr(self, name) not in allowed:
                raise EvidenceError(f"{name} is '{getattr(self, name)}', not one of {', '.join(allowed)}")
        if (self.answer == "arbitrate") != (self.offset is not None):
            raise EvidenceError(f"answer is '{self.answer}' and offset is {self.offset}: an offset is for arbitrate")
        for point in (self.chosen, self.paper):
            if point.threshold is not None and not 0 <= point.threshold <= 1:
                raise EvidenceError(f"threshold is {point.threshold}, not in [0, 1]")
        curve = self.curve
        if not len(curve.threshold) == len(curve.escalation_rate) == len(curve.accuracy):
            raise EvidenceError("the curve's columns differ in length")


def to_json(calibration: Calibration) -> str:
    """The calibration as JSON text, every figure in full."""
    head = {"format": FORMAT, "format_version": FORMAT_VERSION}
    return json.dumps({**head, **dataclasses.asdict(calibration)}, indent=1, allow_nan=False) + "\n"


def from_json(text: str) -> Calibration:
    """Read a calibration, strictly: unknown, missing or ill-typed fields are refused.

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
    body = {name: value for name, value in data.items() if name not in ("format", "format_version")}
    made = _build(Calibration, body, "calibration")
    assert isinstance(made, Calibration)  # noqa: S101  (_build makes what it is told to)
    return made


def read_calibration(path: Path) -> Calibration:
    """Read a calibration file.

    Raises:
        EvidenceError: if it cannot be read or is not one, with the file's name.
    """
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise EvidenceError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except EvidenceError as error:
        raise EvidenceError(f"{path}: {error}") from error


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write a calibration file; it appears whole or not at all.

    Raises:
        EvidenceError: if it cannot be written.
    """
    write_text(to_json(calibration), path)


def write_text(text: str, path: Path) -> None:
    """Write a text file that appears whole or not at all.

    Raises:
        EvidenceError: if it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise EvidenceError(f"cannot write {path}: {error.strerror}") from error


def _build(kind: Any, value: Any, where: str) -> Any:
    """A value of the annotated type from JSON's types."""
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
    raise EvidenceError(f"{where} is {value!r}, not a {getattr(kind, '__name__', kind)}")


def _build_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise EvidenceError(f"{where} is not an object")
    hints = typing.get_type_hints(kind)
    if missing := sorted(set(hints) - set(value)):
        raise EvidenceError(f"{where}.{missing[0]} is missing")
    if unknown := sorted(set(value) - set(hints)):
        raise EvidenceError(f"{where}.{unknown[0]} is not a known field")
    return kind(**{name: _build(hint, value[name], f"{where}.{name}") for name, hint in hints.items()})
