"""The audit: some sure images go to big as well, after they were answered, to see whether little was rightly sure.

It must never delay an answer: an audit starts only while the gate waits for nothing from big, one image at a time,
and is dropped otherwise. (A BLS request of Triton 24.10 has no priority that could say so to big's own queue.)
"""

from __future__ import annotations

import contextlib
import queue
import random
import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Chosen = tuple[Images, int]
# Images chosen and not yet asked about; a burst's surplus is dropped.
_MOST_WAITING = 4


class Auditor:
    """Asks big about images that little was sure of.

    Args:
        rate: fraction of sure images to audit, in [0, 1].
        ask: uint8 [1, H, W, 3] -> big's label; blocks, raises where big fails.
        busy: whether anybody waits for big.
        count: called with `agree`, `disagree`, `dropped` or `failed` for each image chosen.
        seed: of the choice.
    """

    def __init__(
        self,
        rate: float,
        ask: Callable[[Images], int],
        busy: Callable[[], bool],
        count: Callable[[str], None],
        seed: int | None = None,
    ) -> None:
        """Start the thread that asks, if there is anything to ask."""
        self.rate = rate
        self._ask, self._busy, self._count = ask, busy, count
        self._random = random.Random(seed)  # noqa: S311 - a sample, no secret
        self._chosen: queue.SimpleQueue[Chosen] = queue.SimpleQueue()
        self._waiting: queue.Queue[Chosen | None] = queue.Queue(_MOST_WAITING)
        if rate > 0.0:
            threading.Thread(target=self._work, daemon=True).start()

    def choose(self, images: Images, labels: npt.NDArray[np.generic]) -> None:
        """Pick images to audit. Copies them: the request that holds them is about to be answered.

        Args:
            images: a request's sure images, uint8 [rows, H, W, 3].
            labels: little's answers, [rows] or [rows, 1].
        """
        for image, label in zip(images, labels.reshape(-1), strict=True):
            if self._random.random() < self.rate:
                self._chosen.put((image[np.newaxis].copy(), int(label)))

    def tick(self) -> None:
        """Let what was chosen since the last tick be asked, its answers being gone by now."""
        while not self._chosen.empty():
            try:
                self._waiting.put_nowait(self._chosen.get())
            except queue.Full:
                self._count("dropped")

    def stop(self) -> None:
        """End the thread, once the image that it may be asking about is answered."""
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
            except Exception:  # an audit is nobody's request: its failure is counted and that is all
                self._count("failed")
