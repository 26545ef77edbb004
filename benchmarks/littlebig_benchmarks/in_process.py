"""The cascade without a server as a contender: a new process per run, in the layout that is fastest on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from littlebig_benchmarks.baselines.onnxruntime_cascade import Layout
from littlebig_benchmarks.errors import RunFailed
from littlebig_contract.stages import STAGES


@dataclass(frozen=True)
class Answered:
    """The result of one run.

    Attributes:
        images: how many were classified.
        seconds: for all of them.
        escalated: how many of them big saw.
        cpu_seconds: that the process used for them.
    """

    images: int
    seconds: float
    escalated: int
    cpu_seconds: float


def graphs(repository: Path) -> tuple[Path, Path] | None:
    """The ONNX graphs of little and big; None where the repository has none, as with engines alone."""
    little, big = (repository / stage / "1" / "model.onnx" for stage in STAGES)
    return (little, big) if little.is_file() and big.is_file() else None


def run(stages: tuple[Path, Path], images: Path, decision: tuple[str, float], layout: Layout, count: int) -> Answered:
    """Classify `count` images in a process of its own.

    Args:
        stages: the graphs of little and big.
        images: a .npy file, uint8 [N, H, W, 3], in the order to take them.
        decision: little's score, `confidence` or `margin`, and the threshold below which to escalate.
        layout: how to use the cores.
        count: how many images.

    Raises:
        RunFailed: if the process failed.
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
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        raise RunFailed(f"the in-process cascade failed: {process.stderr.strip().splitlines()[-1]}")
    return Answered(**json.loads(process.stdout.splitlines()[-1]))
