"""Reads a pair: the TOML file that names the two classifiers of a cascade and the source of their weights.

A shipped pair is given by its name, a user's own by its path. docs/pairs.md documents the format.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from littlebig_export.errors import PairError
from littlebig_export.preprocessing import Preprocessing

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_TRANSFORM = {"crop_pct": float, "crop_mode": str, "interpolation": str}
_KINDS = {str: "text", int: "a whole number", float: "a number"}
SHIPPED = Path(__file__).parent / "pairs"


@dataclass(frozen=True)
class TimmModel:
    """A classifier from timm.

    Attributes:
        architecture: timm's model name, with its tag if there are several.
        weights: `package:NAME`, `hub`, `random` or `file:PATH`.
        fp32: patterns of what stays in FP32 in a half-precision graph: nodes, operators, modules or their classes.
        transform: settings that replace timm's own: `crop_pct`, `crop_mode`, `interpolation`.
        int8_ranges: a JSON file of the ranges that INT8 takes for these weights, in place of measuring.
    """

    architecture: str
    weights: str
    fp32: tuple[str, ...] = ()
    transform: Mapping[str, Any] = field(default_factory=dict)
    int8_ranges: Path | None = None


@dataclass(frozen=True)
class OnnxModel:
    """A classifier that the user brings as an ONNX file.

    Attributes:
        path: the file.
        preprocessing: how its input is made from a picture.
        scores: what its output holds, `logits` or `probabilities`.
        fp32: patterns of what stays in FP32 in a half-precision graph: names of nodes or operators.
        output: name of the output with the scores; the first one by default.
        normalises: whether the pair's file states `mean` or `std`.
        int8_ranges: a JSON file of the ranges that INT8 takes, in place of measuring.
    """

    path: Path
    preprocessing: Preprocessing
    scores: str
    fp32: tuple[str, ...] = ()
    output: str | None = None
    normalises: bool = False
    int8_ranges: Path | None = None


@dataclass(frozen=True)
class Pair:
    """Two classifiers over the same classes, and the threshold between them.

    Attributes:
        name: unique name.
        description: one line for people.
        threshold: escalate below this confidence, in [0, 1]; used where no calibration applies.
        little: predicts every image.
        big: predicts the images that little is unsure of.
        labels: a text file with one class name per line; not needed for timm's models over ImageNet-1K.
        calibrations: files that `littlebig calibrate --output` wrote, each for other weights or another precision.
    """

    name: str
    description: str
    threshold: float
    little: TimmModel | OnnxModel
    big: TimmModel | OnnxModel
    labels: Path | None
    calibrations: tuple[Path, ...] = ()


def shipped_pairs() -> list[str]:
    """Names of the pairs that come with the package, sorted."""
    return sorted(path.stem for path in SHIPPED.glob("*.toml"))


def load_pair(name_or_path: str) -> Pair:
    """Read and check a pair.

    Args:
        name_or_path: a shipped pair's name, or the path of a file whose name ends in `.toml`.

    Raises:
        PairError: if there is no such pair, or its file is not valid.
    """
    path = Path(name_or_path)
    if path.suffix.lower() != ".toml":
        path = SHIPPED / f"{name_or_path}.toml"
        if name_or_path not in shipped_pairs():
            known = ", ".join(shipped_pairs())
            raise PairError(
                f"no pair '{name_or_path}': the shipped ones are {known}; your own is a path to a .toml file"
            )
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise PairError(f"no pair file '{path}'") from None
    except OSError as reason:
        raise PairError(f"pair file '{path}' cannot be read: {reason.strerror}") from reason
    except UnicodeDecodeError as reason:
        raise PairError(f"pair file '{path}' is not UTF-8 (byte {reason.start}): save it as UTF-8") from None
    except tomllib.TOMLDecodeError as reason:
        raise PairError(f"{path}: not valid TOML: {reason}") from reason
    try:
        return _pair(table, folder=path.parent)
    except PairError as reason:
        raise PairError(f"{path}: {reason}") from reason


def check_files(pair: Pair) -> None:
    """Refuse a pair whose files are missing, before any of its models is read.

    Raises:
        PairError: naming the file.
    """
    models = [model.path for model in (pair.little, pair.big) if isinstance(model, OnnxModel)]
    for what, path in (
        *(("ONNX", path) for path in models),
        ("labels", pair.labels),
        *(("calibration", path) for path in pair.calibrations),
    ):
        if path and not path.is_file():
            raise PairError(f"pair '{pair.name}': there is no {what} file '{path}'")


def override_weights(pair: Pair, little: Path | None, big: Path | None, *, random: bool) -> Pair:
    """The pair with other weights than its file says.

    Args:
        pair: as its file describes it.
        little: a state dict for the little model.
        big: a state dict for the big model.
        random: no weights at all, for load tests and build checks.

    Raises:
        PairError: if a stage that is an ONNX file, weights and all, is to get others.
    """
    return replace(
        pair,
        little=_with_weights(pair.little, little, random=random),
        big=_with_weights(pair.big, big, random=random),
    )


def _pair(table: Mapping[str, Any], folder: Path) -> Pair:
    _refuse_unknown(table, {"name", "description", "threshold", "calibration", "labels", "little", "big"}, "the pair")
    threshold = _value(table, "threshold", float, "the pair", default=0.5)
    if not 0.0 <= threshold <= 1.0:
        raise PairError(f"threshold {threshold} is outside [0, 1]")
    labels = _value(table, "labels", str, "the pair", default="")
    given = table.get("calibration", [])
    calibrations = _texts(
        {"calibration": [given] if isinstance(given, str) else given}, "calibration", "the pair", "FILE"
    )
    name = _value(table, "name", str, "the pair")
    if not name.strip() or not name.isprintable():
        raise PairError(f"the pair name = {name!r} is not a line of text")
    return Pair(
        name=name,
        description=_value(table, "description", str, "the pair", default=""),
        threshold=threshold,
        little=_model(table, "little", folder),
        big=_model(table, "big", folder),
        labels=folder / labels if labels else None,
        calibrations=tuple(folder / name for name in calibrations),
    )


def _model(table: Mapping[str, Any], stage: str, folder: Path) -> TimmModel | OnnxModel:
    model = table.get(stage)
    if not isinstance(model, Mapping):
        raise PairError(f"there is no [{stage}] table")
    where = f"[{stage}]"
    if "architecture" in model and "onnx" in model:
        raise PairError(f"{where} has both 'architecture', of timm, and 'onnx', a file: leave one")
    ranges = _value(model, "int8_ranges", str, where, default="")
    int8_ranges = folder / ranges if ranges else None
    if "architecture" in model:
        _refuse_unknown(model, {"architecture", "weights", "fp32", "int8_ranges", *_TRANSFORM}, where)
        weights = _value(model, "weights", str, where, default="hub")
        kind, _, name = weights.partition(":")
        if weights not in ("hub", "random") and (kind not in ("package", "file") or not name):
            raise PairError(f"{where} weights '{weights}' is not 'package:NAME', 'hub', 'random' or 'file:PATH'")
        if kind == "file":
            weights = f"file:{folder / name}"
        transform = {key: _value(model, key, kind, where) for key, kind in _TRANSFORM.items() if key in model}
        architecture = _value(model, "architecture", str, where)
        return TimmModel(architecture, weights, _patterns(model, where), transform, int8_ranges)
    if "onnx" in model:
        keys = {"onnx", "output", "scores", "size", "mean", "std", "fp32", "int8_ranges", *_TRANSFORM}
        _refuse_unknown(model, keys, where)
        scores = _value(model, "scores", str, where, default="logits")
        if scores not in ("logits", "probabilities"):
            raise PairError(f"{where} scores '{scores}' is not 'logits' or 'probabilities'")
        return OnnxModel(
            path=folder / _value(model, "onnx", str, where),
            preprocessing=_preprocessing(model, where),
            scores=scores,
            fp32=_patterns(model, where),
            output=_value(model, "output", str, where, default="") or None,
            normalises="mean" in model or "std" in model,
            int8_ranges=int8_ranges,
        )
    raise PairError(f"{where} needs an 'architecture' of timm or an 'onnx' file")


def _preprocessing(model: Mapping[str, Any], where: str) -> Preprocessing:
    facts = {
        "size": _value(model, "size", int, where),
        "crop_pct": _value(model, "crop_pct", float, where, default=0.875),
        "crop_mode": _value(model, "crop_mode", str, where, default="center"),
        "interpolation": _value(model, "interpolation", str, where, default="bicubic"),
        "mean": _triple(model, "mean", where, default=(0.485, 0.456, 0.406)),
        "std": _triple(model, "std", where, default=(0.229, 0.224, 0.225)),
    }
    try:
        return Preprocessing(**facts)
    except PairError as reason:
        raise PairError(f"{where} {reason}") from None


def _refuse_unknown(table: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        meant = f": did you mean '{near[0]}'?" if near else f"; it has {', '.join(sorted(known))}"
        raise PairError(f"{where} has no setting '{unknown[0]}'{meant}")


def _value(table: Mapping[str, Any], key: str, kind: type, where: str, default: Any = None) -> Any:
    value = table.get(key, default)
    if value is None:
        raise PairError(f"{where} lacks '{key}'")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise PairError(f"{where} {key} = {value!r} is not {_KINDS[kind]}")
    return value


def _patterns(table: Mapping[str, Any], where: str) -> tuple[str, ...]:
    return _texts(table, "fp32", where, "LiteMLA")


def _texts(table: Mapping[str, Any], key: str, where: str, example: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(text, str) and text for text in value):
        kind = "patterns" if key == "fp32" else "files"
        raise PairError(f'{where} {key} = {value!r} is not a list of {kind} such as ["{example}"]')
    return tuple(value)


def _triple(
    table: Mapping[str, Any], key: str, where: str, default: tuple[float, float, float]
) -> tuple[float, float, float]:
    value = table.get(key, default)
    if (
        not isinstance(value, (list, tuple))
        or len(value) != 3
        or not all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in value)
    ):
        raise PairError(f"{where} {key} = {value!r} is not three numbers")
    red, green, blue = (float(x) for x in value)
    return red, green, blue


def _with_weights(model: TimmModel | OnnxModel, path: Path | None, *, random: bool) -> TimmModel | OnnxModel:
    if path is None and not random:
        return model
    if isinstance(model, OnnxModel):
        raise PairError(f"'{model.path}' is an ONNX file with its weights in it; it takes no others")
    # Ranges of INT8 hold for the pair's weights.
    return replace(model, weights="random" if path is None else f"file:{path}", int8_ranges=None)
