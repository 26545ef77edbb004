"""The cascade without a server as a contender: a process of its own per run, in the layout that is fastest here."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from littlebig_benchmarks.baselines.onnxruntime_cascade import Layout
from littlebig_benchmarks.errors import RunFailed


@dataclass(frozen=True)
class Answered:
    """What one run did.

    Attributes:
        images: how many.
        seconds: for all of them.
        escalated: how many of them big saw.
        cpu_seconds: that the process used for them.
    """

    images: int
    seconds: float
    escalated: int
    cpu_seconds: float


def graphs(repository: Path) -> tuple[Path, Path] | None:
    """The ONNX graphs of little and big; None where the repository has none, as with built engines alone."""
    found = tuple(repository / stage / "1" / "model.onnx" for stage in ("little", "big"))
    return (found[0], found[1]) if all(path.is_file() for path in found) else None


def run(stages: tuple[Path, Path], images: Path, decision: tuple[str, float], layout: Layout, count: int) -> Answered:
    """Classify `count` images in a process of its own.

    Args:
        stages: the graphs of little and big.
        images: a .npy file, uint8 [N, H, W, 3], in the order to take them.
        decision: little's score, `confidence` or `margin`, and the threshold below which to escalate.
        layout: how to use the cores.
        count: how many images.

    Raises:
        RunFailed: if it failed.
    """
    words = {
        "--little": stages[0],
        "--big": stages[1],
        "--images": images,
        "--workers": layout.workers,
        "--threads": layout.threads,
        "--score": decision[0],
        "--threshold": decision[1],
        "--count": count,
    }
    command = [sys.executable, "-m", "littlebig_benchmarks.baselines.onnxruntime_cascade"]
    for name, value in words.items():
        command += [name, str(value)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    if said.returncode != 0:
        raise RunFailed(f"the in-process cascade failed: {said.stderr.strip().splitlines()[-1]}")
    return Answered(**json.loads(said.stdout.splitlines()[-1]))
