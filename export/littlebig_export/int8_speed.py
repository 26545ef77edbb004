"""Measures what INT8 gains on a CPU, and chooses the bits of its weights by that."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from littlebig_export.weight_files import open_graph

# INT8 that is hardly faster is not worth the answers that it changes.
WORTHWHILE = 1.1
_ROUNDS, _IMAGES_PER_RUN = 15, 2


@dataclass(frozen=True)
class Speed:
    """An INT8 stage beside the FP32 one, on one thread as the cpu target runs it.

    Attributes:
        speedup: the median of how many times as fast it was in each round.
        milliseconds: of an image, the median of all rounds.
        fp32_milliseconds: of an image in FP32.
    """

    speedup: float
    milliseconds: float
    fp32_milliseconds: float


def measure_speeds(
    reference: onnx.ModelProto, quantised: Sequence[onnx.ModelProto], images: Sequence[npt.NDArray[np.uint8]]
) -> list[Speed]:
    """The speed of INT8 stages, which take turns with the FP32 one: each round sees the same load of the machine."""
    sessions = [open_graph(graph, threads=1, cpu_only=True) for graph in (reference, *quantised)]
    batch = {"image": np.stack(images[:_IMAGES_PER_RUN])}
    rounds = []
    for _ in range(_ROUNDS + 1):
        times = []
        for session in sessions:
            started = time.perf_counter()
            session.run(["label", "confidence"], batch)
            times.append((time.perf_counter() - started) * 1e3 / len(batch["image"]))
        rounds.append(times)
    fp32, *int8 = zip(*rounds[1:], strict=True)
    return [
        Speed(
            speedup=round(statistics.median(a / b for a, b in zip(fp32, each, strict=True)), 2),
            milliseconds=round(statistics.median(each), 2),
            fp32_milliseconds=round(statistics.median(fp32), 2),
        )
        for each in int8
    ]


def choose_bits(eight: Speed, seven: Speed) -> tuple[int, Speed]:
    """Bits of the weights, and the speed: 7 of 8 only where that pays, because they answer less alike."""
    return (7, seven) if seven.speedup >= WORTHWHILE * eight.speedup else (8, eight)
