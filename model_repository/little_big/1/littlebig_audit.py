"""The audit: some sure images are sent to big after they were answered, to check that little was rightly sure.

An audit must not delay an answer: it starts only while no batch waits for big, one image at a time, and is dropped
otherwise. (A BLS request of Triton 24.10 has no priority that could leave this to big's queue.)
"""

from __future__ import annotations

import contextlib
import queue
import random
import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from littlebig_images import Pixels

# An image, uint8 [1, H, W, 3], and little's label for it.
Chosen = tuple[Pixels, int]
# Most images that wait for their audit; the surplus of a burst is dropped.
_MAX_WAITING = 4


class Auditor:
    """Asks big about images that little was sure of.

    Args:
        rate: fraction of sure images to audit, in [0, 1].
        ask: uint8 [1, H, W, 3] -> big's label; blocks, and raises if big fails.
        busy: whether a batch waits for big.
        count: called for each chosen image with `agree`, `disagree`, `dropped` or `failed`.
        seed: of the choice.
    """

    def __init__(
        self,
        rate: float,
        ask: Callable[[Pixels], int],
        busy: Callable[[], bool],
        count: Callable[[str], None],
        seed: int | None = None,
    ) -> None:
        """Start the thread that asks, if the rate is not 0."""
        self.rate = rate
        self._ask, self._busy, self._count = ask, busy, count
        self._random = random.Random(seed)  # noqa: S311 - a sample, not a secret
        self._chosen: queue.SimpleQueue[Chosen] = queue.SimpleQueue()
        self._waiting: queue.Queue[Chosen | None] = queue.Queue(_MAX_WAITING)
        if rate > 0.0:
            threading.Thread(target=self._work, daemon=True).start()

    def choose(self, images: Pixels, labels: npt.NDArray[np.generic]) -> None:
        """Pick images to audit and copy them: the request that holds them is about to be answered.

        Args:
            images: a request's sure images, uint8 [rows, H, W, 3].
            labels: little's answers, [rows] or [rows, 1].
        """
        for image, label in zip(images, labels.reshape(-1), strict=True):
            if self._random.random() < self.rate:
                self._chosen.put((image[np.newaxis].copy(), int(label)))

    def poll(self) -> None:
        """Queue the images chosen since the call before. To be called from a timer: their answers are sent by then."""
        while not self._chosen.empty():
            try:
                self._waiting.put_nowait(self._chosen.get())
            except queue.Full:
                self._count("dropped")

    def stop(self) -> None:
        """End the thread, once big has answered the image that it may be asking about."""
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)

    def _work(self) -> None:
        while (chosen := self._waiting.get()) is not None:
            image, label = chosen
            if self._busy():
                self._count("dropped")
                continue
            try:
                self._count("agree" if self._ask(image) == label else "disagree")
            except Exception:  # no caller waits for an audit: count its failure and go on
                self._count("failed")
