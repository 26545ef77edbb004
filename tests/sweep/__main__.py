"""Tries many kinds of models and prints what works as a table: python -m tests.sweep [NAME...]."""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from littlebig_export.pair import TimmModel
from tests.sweep.graphs import KINDS, from_kind, from_torchvision
from tests.sweep.models import TIMM, TORCHVISION
from tests.sweep.trying import Tried, try_model

GROUPS: dict[str, Sequence[str]] = {**TIMM, "torchvision, as ONNX": TORCHVISION, "other ONNX graphs": tuple(KINDS)}
RESULTS = Path(__file__).parents[2] / "build" / "sweep.jsonl"


def try_named(name: str) -> Tried:
    """Try a model of `GROUPS`."""
    with tempfile.TemporaryDirectory() as folder:
        if name in KINDS:
            return try_model(name, from_kind(name, Path(folder)))
        if name in TORCHVISION:
            return try_model(name, from_torchvision(name, Path(folder)))
        return try_model(name, TimmModel(name, "random"))


def table(results: dict[str, Tried]) -> list[str]:
    """A Markdown table by group, and below it a line for each model that does not work."""
    lines = ["| models | work |", "| --- | --- |"]
    failures = []
    for group, names in GROUPS.items():
        tried = [results[name] for name in names if name in results]
        works = [f"{each.name} ({each.size})" for each in tried if not each.failed]
        lines.append(f"| {group}: {len(works)} of {len(tried)} | {', '.join(works)} |")
        failures += [f"* {each.name} ({each.failed}): {each.reason}" for each in tried if each.failed]
    return [*lines, "", *failures]


def _in_child(name: str) -> Tried:
    """A process each, so that its memory goes with it, and a crash is a failure like others."""
    context = multiprocessing.get_context("fork")
    with context.Pool(1, maxtasksperchild=1) as pool:
        answer = pool.apply_async(try_named, (name,))
        with contextlib.suppress(multiprocessing.TimeoutError):
            return answer.get(timeout=900)
    return Tried(name, failed="crash", reason="no answer within 900 s")


def main() -> int:
    """Try the models that have no result yet, then print the table; the exit status says whether 95 % work."""
    options = argparse.ArgumentParser(prog="python -m tests.sweep", description=__doc__)
    options.add_argument("names", nargs="*", help=f"models, tried again; all without a result in {RESULTS} by default")
    chosen = options.parse_args().names
    RESULTS.parent.mkdir(exist_ok=True)
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    results = {each["name"]: Tried(**each) for each in map(json.loads, lines)}
    for name in chosen or [each for names in GROUPS.values() for each in names if each not in results]:
        results[name] = _in_child(name)
        with RESULTS.open("a") as file:
            file.write(json.dumps(asdict(results[name])) + "\n")
        print(f"{name}: {results[name].failed or 'works'} {results[name].reason}", file=sys.stderr, flush=True)
    print("\n".join(table(results)))
    return 0 if sum(not each.failed for each in results.values()) >= 0.95 * len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
