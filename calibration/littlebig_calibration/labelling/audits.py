"""Reads the gate's audit folder as a table: a random sample of live traffic, answered by both stages.

The gate tosses a coin for each image that little scores, sure or not, asks big about the chosen ones, and keeps both
answers, with the picture where they differ (docs/gate.md). So the folder is a sample like any other, whatever the
threshold was, as long as three things hold:

- **one sampling rate.** Where runs differ in it, images of one count more often than images of another, and the walk
  has no weights: refused.
- **one pair of weights.** Refused otherwise: a mixture has no threshold.
- **nothing lost by its content.** Images may be dropped in a burst, and big may fail. No one knows what they would have
  been, so each is taken as the worst case: a confident answer of little that only big gets right. Then the promise
  holds, and a few of them do little harm; above `MOST_LOST` the folder is refused. A folder that is full or cannot be
  written ends the sample, which is harmless.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from littlebig_calibration._arrays import Array
from littlebig_calibration.errors import TableError
from littlebig_calibration.table import NO_LABEL, UNCLEAR, ModelColumns, PredictionTable, SourceFile, counted

MANIFEST, VERSION = "manifest.jsonl", 1
STAGES = ("little", "big")
# Fraction of the sample that may be lost: each lost image counts against little.
MOST_LOST = 0.01
# Reasons of loss that say nothing about the end of the sample.
LOST = ("dropped", "failed")


@dataclass
class _Manifest:
    """The records, sorted out: runs and their last counts by id, images with their run, lines that a crash has cut."""

    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    counts: dict[str, dict[str, Any]] = field(default_factory=dict)
    images: list[dict[str, Any]] = field(default_factory=list)
    cut: int = 0


def is_audit_folder(path: Path) -> bool:
    """Whether a path is a folder with a manifest of audits."""
    return (path / MANIFEST).is_file()


def picture_path(folder: Path, file: str) -> Path:
    """The picture of a row. Rows of the same picture differ in what follows `#`."""
    return folder / file.partition("#")[0]


def read_audits(folder: Path) -> PredictionTable:
    """Read an audit folder.

    Args:
        folder: with `manifest.jsonl` and `pictures`.

    Returns:
        A table without labels. Agreeing images are named `agreed-1` and so on; images that were lost are named
        `lost-1` and so on and have the label `UNCLEAR`, as have disagreements whose picture could not be kept.

    Raises:
        TableError: if the folder cannot be read, or is no random sample of one pair's traffic, with the reason.
    """
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TableError(f"cannot read {path}: {error.strerror or error}") from error
    manifest = _sorted_out(content, path)
    weights = _check_runs(manifest, path)
    lost = _lost(manifest, path)
    files, labels = zip(*_named(manifest.images, folder), strict=True)
    rows = [(*(image[stage] for stage in STAGES),) for image in manifest.images]
    # The worst case: little is sure of it, and only big is right.
    worst = ({"class": 0, "confidence": 1.0, "margin": 1.0}, {"class": 1, "confidence": 1.0, "margin": 1.0})
    rows += [worst] * lost
    names = [*files, *(f"lost-{number}" for number in range(1, lost + 1))]
    order = np.array(sorted(range(len(names)), key=names.__getitem__))
    known = np.array([*labels, *[UNCLEAR] * lost], dtype=np.int32)
    return PredictionTable(
        files=tuple(names[place] for place in order),
        labels=known[order],
        models=tuple(
            _columns(stage, [row[index] for row in rows], weights[stage], order, path)
            for index, stage in enumerate(STAGES)
        ),
        data_set=folder.resolve().name,
        sources=(SourceFile(MANIFEST, hashlib.sha256(content).hexdigest()),),
    )


def _sorted_out(content: bytes, path: Path) -> _Manifest:
    manifest = _Manifest()
    for line in content.splitlines():
        try:
            record = json.loads(line)
            kind, run = record["record"], record["run"]
        except (ValueError, KeyError, TypeError):
            manifest.cut += bool(line.strip())
            continue
        if kind == "run":
            if record.get("version") != VERSION:
                raise TableError(
                    f"{path}: format version {record.get('version')}, this littlebig reads version {VERSION}: update it"
                )
            manifest.runs[run] = record
        elif kind == "counts":
            manifest.counts[run] = record
        elif kind == "image":
            manifest.images.append(record)
    if not manifest.images:
        raise TableError(f"{path} has no audits: set audit_rate and audit_folder, and serve for a while")
    return manifest


def _check_runs(manifest: _Manifest, path: Path) -> dict[str, str]:
    """Refuse what is no random sample of one pair's traffic; returns the weights' identity by stage."""
    used = Counter(image["run"] for image in manifest.images)
    unknown = [run for run in used if run not in manifest.runs]
    if unknown:
        raise TableError(
            f"{path}: run {unknown[0]} has audits but no record of its sampling rate, so nothing can be said about the "
            "traffic: move the folder away and collect again"
        )
    runs = [manifest.runs[run] for run in used]
    rates = sorted({run.get("audit_rate") for run in runs}, key=str)
    if not all(isinstance(rate, float | int) and 0 < rate <= 1 for rate in rates):
        raise TableError(f"{path}: sampling rate {rates[0]} is not in (0, 1]: move the folder away and collect again")
    if len(rates) > 1:
        raise TableError(
            f"{path}: images were sampled at rates {' and '.join(f'{rate:g}' for rate in rates)}, so some count more "
            "often than others: keep one folder for each audit_rate"
        )
    for stage in STAGES:
        found = {str((run.get("weights") or {}).get(stage)) for run in runs}
        if len(found) > 1 or found == {"None"}:
            raise TableError(
                f"{path}: audits of {len(found)} different weights of {stage} are mixed, or weights are not known: "
                "keep one folder for each export"
            )
    for run, record in manifest.counts.items():
        if used[run] < _number(record.get("kept")):
            raise TableError(
                f"{path}: run {run} kept {_number(record.get('kept')):,} audits and {used[run]:,} are here: removing "
                "audits changes the sample; use the folder as the gate wrote it"
            )
    return {stage: str(runs[0]["weights"][stage]) for stage in STAGES}


def _lost(manifest: _Manifest, path: Path) -> int:
    """Number of chosen images whose answers are not known; refused where they are many."""
    reasons: Counter[str] = Counter(cut=manifest.cut)
    for record in manifest.counts.values():
        lost = record.get("lost") or {}
        for reason in LOST:
            reasons[reason] += _number(lost.get(reason))
        # Of those that could not be written, one was part of the sample: the first failure ended it.
        reasons["unwritten"] += min(_number(lost.get("unwritten")), 1)
    total = sum(reasons.values())
    if total > MOST_LOST * (len(manifest.images) + total):
        why = ", ".join(f"{number:,} {reason}" for reason, number in reasons.items() if number)
        raise TableError(
            f"{path}: {counted(total, 'chosen image')} of {len(manifest.images) + total:,} lost ({why}): what remains "
            "is no random sample; lower audit_rate so that big keeps up, and collect again"
        )
    return total


def _named(images: list[dict[str, Any]], folder: Path) -> Iterator[tuple[str, int]]:
    """A name for each row, each once, and `UNCLEAR` where it cannot be labelled."""
    seen: Counter[str] = Counter()
    for number, image in enumerate(images, start=1):
        if image["little"]["class"] == image["big"]["class"]:
            yield f"agreed-{number}", NO_LABEL
            continue
        picture = image.get("picture")
        if not picture or not (folder / picture).is_file():
            yield f"unseen-{number}", UNCLEAR
            continue
        seen[picture] += 1
        yield picture if seen[picture] == 1 else f"{picture}#{seen[picture]}", NO_LABEL


def _columns(stage: str, answers: list[dict[str, Any]], weights: str, order: Array, path: Path) -> ModelColumns:
    def column(name: str, kind: type) -> Array:
        # null becomes NaN: the gate writes it for what a stage did not answer.
        values = np.array([answer.get(name) for answer in answers], dtype=np.float64)[order]
        return values.astype(kind)

    confidence, margin = column("confidence", np.float32), column("margin", np.float32)
    if np.isnan(confidence).any():
        raise TableError(
            f"{path}: {stage} gave no confidence for {counted(int(np.isnan(confidence).sum()), 'image')}: "
            "its graph is broken, export it again"
        )
    return ModelColumns(
        name=stage,
        label=column("class", np.int32),
        confidence=confidence,
        margin=None if np.isnan(margin).any() else margin,
        weights_sha256=weights,
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
