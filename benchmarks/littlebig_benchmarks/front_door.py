"""The front door: `classify` on small and on 12-megapixel JPEG files, beside `little_big` on canonical images.

Our own load generator sends all three, because perf_analyzer keeps the input of every request in memory, and a large
file has megabytes. There are few large files, each in memory once.
"""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from littlebig_benchmarks.images import Pictures, as_jpeg, look_through
from littlebig_benchmarks.measuring import Bench
from littlebig_benchmarks.rounds import Case, Measures
from littlebig_benchmarks.scenario import Scenario

CONTENDERS = ("little_big", "classify_small", "classify_12mp")
# 12 megapixels; of each kind, sure and unsure, so many files.
_SIDE, _OF_EACH_KIND = 3464, 3
# Standard deviation in levels of the noise of a sensor, and a camera's quality: files of about 4 MB.
_NOISE, _QUALITY = 6.0, 93


def cases(scenario: Scenario) -> list[Case]:
    """The three contenders at the last concurrency and the first escalation rate."""
    concurrency, escalation = scenario.concurrency[-1], scenario.escalations[0]
    return [Case(name, escalation, concurrency, own_load=True) for name in CONTENDERS]


class FrontDoor:
    """Measures the three contenders on one server."""

    def __init__(self, small: Bench) -> None:
        """Make the large files, and ask the server for little's score of each.

        Args:
            small: the server with the crops that all other measurements use, of at most 500x500 pixels.

        Raises:
            ImagesError: if the server refuses a large file.
        """
        files = large_files(small.pictures, small.seed)
        self._small = small
        self._large = replace(small, pictures=look_through(small.served, files))

    def run(self, case: Case) -> Measures:
        """Measure a case once."""
        return (self._large if case.contender == "classify_12mp" else self._small).run(case)


def large_files(pictures: Pictures, seed: int) -> list[bytes]:
    """12-megapixel JPEG files with the content of small ones.

    Small files are enlarged (bicubic), given Gaussian noise, and compressed with the quality of a camera. The noise
    restores the fine detail that decides the size and decoding time of a JPEG file, and vanishes when it is scaled down
    again: so little is as sure of the large file as of the small one. The pictures whose scores are farthest from the
    threshold are taken, half of them sure and half unsure.

    Args:
        pictures: small JPEG files with little's scores.
        seed: of the noise.
    """
    chosen = [
        place
        for kind in (True, False)
        for place in sorted(np.flatnonzero(pictures.unsure == kind), key=lambda place: pictures.scores[place])[
            slice(0, _OF_EACH_KIND) if kind else slice(-_OF_EACH_KIND, None)
        ]
    ]
    noise = np.random.default_rng(seed).normal(0.0, _NOISE, (_SIDE, _SIDE)).astype(np.int16)[..., np.newaxis]
    files = []
    for place in chosen:
        with Image.open(io.BytesIO(pictures.encoded[place])) as opened:
            enlarged = np.asarray(opened.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC), np.int16)
        files.append(as_jpeg(Image.fromarray(np.clip(enlarged + noise, 0, 255).astype(np.uint8)), _QUALITY))
    return files
