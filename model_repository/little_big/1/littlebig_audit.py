"""The audit: some images are sent to big after they were answered, to check that little was rightly sure.

An audit must not delay an answer: images are asked one at a time, and only while no batch waits for big; otherwise they
are dropped. (A BLS request of Triton 24.10 has no priority that could leave this to big's queue.)

With a folder, audits are kept as a sample of all traffic, which nothing about an image may bias: unsure images are
chosen too, and while big is busy an image waits instead of being dropped. docs/gate.md describes the sample.
"""

from __future__ import annotations

import contextlib
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from littlebig_audit_folder import AuditFolder
from littlebig_images import Pixels

# Most images that wait for their audit; the surplus of a burst is dropped. With a folder it is their memory that is
# bounded.
_MAX_WAITING, _MAX_WAITING_BYTES = 4, 16 << 20
# How long an audit for the folder waits for an idle big before it is asked all the same, and between two looks.
_MAX_DELAY_S, _LOOK_S = 1.0, 0.02
# How often the folder's counts are looked at, and how long the end waits for the last of them.
_POLL_S, _MAX_END_S = 5.0, 2.0


class Prediction(NamedTuple):
    """A stage's answer for one image.

    Attributes:
        label: class index.
        confidence: float32 value; NaN if the stage is broken.
        margin: the same; NaN if it was not asked for.
    """

    label: int
    confidence: float
    margin: float


class Chosen(NamedTuple):
    """An image that big is asked about.

    Attributes:
        image: uint8 [1, H, W, 3], in memory of its own.
        little: its answer.
        sure: whether little was; others are for the folder only.
    """

    image: Pixels
    little: Prediction
    sure: bool


class Auditor:
    """Asks big about images that little has answered.

    Args:
        rate: fraction of images to audit, in [0, 1].
        ask: uint8 [1, H, W, 3] -> big's prediction; blocks, and raises if big fails.
        busy: whether a batch waits for big.
        broken: whether big has failed, so that it must not be asked.
        count: called for each sure image with `agree`, `disagree`, `dropped` or `failed`.
        folder: where audits are kept, if they are.
        seed: of the choice.
    """

    def __init__(
        self,
        rate: float,
        ask: Callable[[Pixels], Prediction],
        busy: Callable[[], bool],
        broken: Callable[[], bool],
        count: Callable[[str], None],
        folder: AuditFolder | None = None,
        seed: int | None = None,
    ) -> None:
        """Start the thread that asks, if the rate is not 0."""
        self.rate = rate
        self._ask, self._busy, self._broken, self._count, self._folder = ask, busy, broken, count, folder
        self._random = random.Random(seed)  # noqa: S311 - a sample, not a secret
        self._chosen: queue.SimpleQueue[Chosen] = queue.SimpleQueue()
        self._waiting: queue.Queue[Chosen | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        if rate > 0.0:
            self._thread.start()

    @property
    def keeps(self) -> bool:
        """Whether audits are kept now, so that unsure images are audited too."""
        return self._folder is not None and self._folder.is_open

    def toss(self, rows: Sequence[int]) -> list[int]:
        """Toss a coin for each row; returns the rows to audit."""
        chosen = [row for row in rows if self._random.random() < self.rate]
        if self._folder is not None and self._folder.is_open:
            self._folder.count(seen=len(rows), chosen=len(chosen))
        return chosen

    def choose(self, chosen: Chosen) -> None:
        """Audit an image after its request is answered."""
        self._chosen.put(chosen)

    def poll(self) -> None:
        """Queue the images chosen since the call before. To be called from a timer: their answers are sent by then."""
        while not self._chosen.empty():
            chosen = self._chosen.get()
            most = _MAX_WAITING
            if self.keeps:
                most = max(most, _MAX_WAITING_BYTES // chosen.image.nbytes)
            if self._waiting.qsize() < most:
                self._waiting.put(chosen)
            else:
                self._lose(chosen, "dropped")

    def stop(self) -> None:
        """End the thread, once big has answered the image that it may be asking about."""
        self._waiting.put(None)
        if self._folder is not None and self._thread.is_alive():
            self._thread.join(_MAX_END_S)  # it writes the last counts

    def _work(self) -> None:
        while (chosen := self._next()) is not None:
            if self._broken() or not self._is_turn():
                self._lose(chosen, "dropped")
                continue
            try:
                big = self._ask(chosen.image)
            except Exception:  # no caller waits for an audit: count its failure and go on
                self._lose(chosen, "failed")
                continue
            if chosen.sure:
                self._count("agree" if big.label == chosen.little.label else "disagree")
            if self._folder is not None:
                self._folder.keep(chosen.image[0], chosen.little, big)
        if self._folder is not None:
            self._folder.close()

    def _next(self) -> Chosen | None:
        """The next image to ask about; None at the end."""
        while True:
            if self._folder is not None:
                self._folder.poll()
            with contextlib.suppress(queue.Empty):
                return self._waiting.get(timeout=None if self._folder is None else _POLL_S)

    def _is_turn(self) -> bool:
        """Whether to ask big now: when it is idle, and for the folder after a while in any case."""
        if not self.keeps:
            return not self._busy()
        end = time.monotonic() + _MAX_DELAY_S
        while self._busy() and time.monotonic() < end:
            time.sleep(_LOOK_S)
        return True

    def _lose(self, chosen: Chosen, why: str) -> None:
        if chosen.sure:
            self._count(why)
        if self._folder is not None:
            self._folder.count(**{why: 1})
