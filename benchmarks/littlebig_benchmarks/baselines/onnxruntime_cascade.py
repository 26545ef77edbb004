"""The same cascade in one process without a server: ONNX Runtime on the stages' own graphs.

Run as `python -m littlebig_benchmarks.baselines.onnxruntime_cascade`, so that its CPU time is its own. Prints one JSON
object. A pool of workers takes the next image as soon as a worker is free, so no time is lost to the load.
"""

from __future__ import annotations

import argparse
import itertools
import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from littlebig_contract.onnx_runtime import providers

# The outputs that perf_analyzer requests from a served cascade.
OUTPUTS = ("label", "confidence", "probabilities")


@dataclass(frozen=True)
class Layout:
    """How the cores are used.

    Attributes:
        workers: images handled at the same time.
        threads: of ONNX Runtime, for each of them.
    """

    workers: int
    threads: int

    def __str__(self) -> str:
        """As it is printed."""
        return f"{self.workers} x {self.threads} threads"


def layouts(cores: int) -> tuple[Layout, ...]:
    """The layouts to try: one image on all cores, an image per core, and two images at a time on all cores."""
    return tuple(dict.fromkeys((Layout(1, cores), Layout(cores, 1), Layout(2, cores))))


class Cascade:
    """Both graphs, opened once per layout."""

    def __init__(self, little: Path, big: Path, layout: Layout, threshold: float, score: str) -> None:
        """Open the graphs; each worker has its own sessions, so that none waits for another's threads."""
        self.threshold = threshold
        self.outputs = list(dict.fromkeys((*OUTPUTS, score)))
        self.score = self.outputs.index(score)
        self.layout = layout
        self._sessions = [(_session(little, layout), _session(big, layout)) for _ in range(layout.workers)]

    def answer(self, worker: int, image: npt.NDArray[np.uint8]) -> bool:
        """Classify one canonical image, uint8 [1, H, W, 3]; returns whether it was escalated."""
        little, big = self._sessions[worker]
        score = little.run(self.outputs, {"image": image})[self.score]
        if score.item() >= self.threshold:
            return False
        big.run(OUTPUTS, {"image": image})
        return True

    def run(self, images: npt.NDArray[np.uint8], count: int) -> tuple[float, int]:
        """Classify `count` images, cycling through the given ones [N, H, W, 3].

        Returns:
            Seconds, and how many were escalated.
        """
        numbers = itertools.count()
        escalated = [0] * self.layout.workers

        def work(worker: int) -> None:
            while (number := next(numbers)) < count:
                place = number % len(images)
                escalated[worker] += self.answer(worker, images[place : place + 1])

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(self.layout.workers)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - started, sum(escalated)


def _session(graph: Path, layout: Layout) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = layout.threads
    # As in the served stages: with several workers, a spinning thread takes another's core.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0" if layout.workers > 1 else "1")
    return onnxruntime.InferenceSession(str(graph), options, providers=providers(cpu_only=True))


def main() -> None:
    """Warm up and measure one layout; print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--little", type=Path, required=True)
    parser.add_argument("--big", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="a .npy file, uint8 [N, H, W, 3]")
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--threshold", type=float, required=True)
    parser.add_argument("--score", choices=("confidence", "margin"), required=True)
    parser.add_argument("--count", type=int, required=True)
    given = parser.parse_args()
    images = np.load(given.images)
    cascade = Cascade(given.little, given.big, Layout(given.workers, given.threads), given.threshold, given.score)
    cascade.run(images, min(4 * given.workers, len(images)))
    before = time.process_time()
    seconds, escalated = cascade.run(images, given.count)
    print(
        json.dumps(
            {
                "images": given.count,
                "seconds": seconds,
                "escalated": escalated,
                "cpu_seconds": time.process_time() - before,
            }
        )
    )


if __name__ == "__main__":
    main()
