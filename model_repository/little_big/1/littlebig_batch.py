"""One batch on its way through the gate: what each request asks, which rows wait for big, what each is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from littlebig_escalation import Failure, Outputs, StageFailed
from littlebig_gate import (
    ARBITRATED,
    BIG_FAILED,
    BIG_ONLY,
    LOST,
    SURE,
    UNSURE,
    Answers,
    Options,
    judge,
    little_stands,
    spare,
)
from littlebig_images import Images, Pixels, gather
from littlebig_metrics import Tally
from littlebig_overload import Relief
from littlebig_settings import Settings

CANCELLED = "cancelled by its caller"


@dataclass(slots=True, eq=False)
class Accepted:
    """A request that has passed validation.

    Attributes:
        request: Triton's; the batch only passes it on.
        images: what it brings, in memory of its own.
        wanted: names of the outputs that the caller wants.
        timeout_us: how long the caller would wait in a queue, microseconds; 0 for ever.
        options: how it wants to be answered.
        place: its rows of the batch.
        waits: whether any of them waits for big.
    """

    request: Any
    images: Images
    wanted: Sequence[str]
    timeout_us: int
    options: Options
    place: slice = field(init=False)
    waits: bool = field(default=False, init=False)


class Batch:
    """Requests that go through the gate together; each keeps its own fate.

    Args:
        accepted: the requests, in order; at least one, and each in no other batch.
        settings: the gate's.
        tally: where answers are counted.

    Attributes:
        rows: images of the batch.
        to_big: the rows that wait for big, ascending.
        waiting: the requests with any such row.
        outputs: names of the outputs that stages are asked for.
    """

    def __init__(self, accepted: Sequence[Accepted], settings: Settings, tally: Tally) -> None:
        """No row has an answer yet."""
        self._accepted, self._settings, self._tally = accepted, settings, tally
        self._verdicts: list[int] = []
        self._owners: list[Accepted] = []
        for one in accepted:
            first = len(self._owners)
            self._owners += [one] * len(one.images)
            self._verdicts += [one.options.verdict] * len(one.images)
            one.place = slice(first, len(self._owners))
        self.rows = len(self._owners)
        self._answers = Answers(self.rows)
        self._errors: dict[int, str] = {}
        self.to_big: list[int] = []
        self.waiting: list[Accepted] = []
        self.outputs = ["label", "confidence"]
        if any("probabilities" in one.wanted for one in accepted):
            self.outputs.append("probabilities")

    def ask_little(self, call: Callable[[Images, Sequence[str], int], Outputs], room: Pixels | None = None) -> None:
        """Fill in little's answers, by one call for all rows that need them.

        Args:
            call: (images, output names, timeout in microseconds or 0) -> outputs; raises StageFailed.
            room: uint8 [rows or more, H, W, 3] that the images may be put into for the call.
        """
        rows = [row for row, verdict in enumerate(self._verdicts) if verdict != BIG_ONLY]
        if not rows:
            return
        gate = self._settings.gate
        outputs = self.outputs if gate in self.outputs else [*self.outputs, gate]
        callers = (one for one in self._accepted if one.options.verdict != BIG_ONLY)
        try:
            found = call(self._images(rows, room), outputs, _timeout_us(callers))
        except StageFailed as reason:
            self._lose(rows, str(reason), "little")
        else:
            self._answers.write(rows, found)
            self._tally.scores(found[gate].reshape(-1).tolist())

    def plan(self, relief: Relief) -> None:
        """Decide which rows go to big, and count those that need not."""
        scores = self._answers.scores(self._settings.gate)
        thresholds = [one.options.threshold for one in self._owners]
        self._verdicts = judge(self._verdicts, scores, thresholds)
        if relief.target:
            self._verdicts = spare(self._verdicts, scores, thresholds, relief)
        self._answers.tell(self._verdicts)
        self.to_big = [row for row, verdict in enumerate(self._verdicts) if verdict in (UNSURE, BIG_ONLY)]
        self.waiting = list(dict.fromkeys(self._owners[row] for row in self.to_big))
        for one in self.waiting:
            one.waits = True
        self._count(one for one in self._accepted if not one.waits)

    def escalated(self, cancelled: Callable[[Accepted], bool], room: Pixels | None = None) -> Images:
        """Take the waiting requests out whose callers have gone, and give the images of the others for big.

        Args:
            cancelled: whether a request's caller has gone.
            room: uint8 [images or more, H, W, 3] that they may be put into until big has them.

        Returns:
            The images of `to_big`, which may be none.
        """
        gone = [one for one in self.waiting if cancelled(one)]
        if gone:
            self._lose([row for row in self.to_big if self._owners[row] in gone], CANCELLED)
            self.to_big = [row for row in self.to_big if self._owners[row] not in gone]
        return self._images(self.to_big, room)

    def take(self, result: Outputs | Failure) -> None:
        """Fill in big's answers, or what takes their place, and count the requests that waited for them."""
        if isinstance(result, Failure):
            self._do_without_big(result)
        elif self.to_big:
            try:
                self._take_big(result)
            except Exception as reason:  # its callers must hear of it, and half of big's answer is none of little's
                self._tally.add("littlebig_big_failures_total", len(self.to_big), reason="error")
                self._lose(self.to_big, f"{type(reason).__name__}: {reason}", "big")
        self._answers.tell(self._verdicts)
        self._count(self.waiting)

    def answer(self, one: Accepted) -> dict[str, npt.NDArray[np.generic]] | str:
        """A request's outputs by name, or why it has none."""
        if self._errors:
            for row in range(one.place.start, one.place.stop):
                if row in self._errors:
                    return self._errors[row]
        return {name: array[one.place] for name, array in self._answers.tensors.items() if name in one.wanted}

    def sure(self) -> Iterator[tuple[Pixels, npt.NDArray[np.generic]]]:
        """Per request with any: the images that little alone decided, and its labels for them."""
        for one in self._accepted:
            rows = [row for row, verdict in enumerate(self._verdicts[one.place]) if verdict == SURE]
            if rows:
                yield one.images.pixels[rows], self._answers.tensors["label"][one.place][rows]

    def timeout_us(self) -> int:
        """How long those who wait for big would do so together: the longest of them, 0 where one waits for ever."""
        return _timeout_us(self.waiting)

    def _take_big(self, outputs: Outputs) -> None:
        """Write big's answers, but for those rows on which little's stands against it."""
        rows = self.to_big
        if self._settings.answer == "arbitrate":
            little, big = self._answers.scores("confidence"), outputs["confidence"].reshape(-1).tolist()
            offset, taken = self._settings.offset, []
            for place, row in enumerate(rows):
                if self._verdicts[row] == UNSURE and little_stands(little[row], big[place], offset):
                    self._verdicts[row] = ARBITRATED
                else:
                    taken.append(place)
            rows, outputs = [rows[place] for place in taken], {name: array[taken] for name, array in outputs.items()}
        self._answers.write(rows, outputs)

    def _do_without_big(self, failure: Failure) -> None:
        self._tally.add("littlebig_big_failures_total", len(self.to_big), reason=failure.reason)
        lost = self.to_big
        if self._settings.on_big_failure == "little":
            lost = [row for row in lost if self._verdicts[row] != UNSURE]  # who asks for big alone has no other answer
            for row in set(self.to_big).difference(lost):
                self._verdicts[row] = BIG_FAILED
        self._lose(lost, failure.message, "big")

    def _lose(self, rows: Sequence[int], error: str, stage: str | None = None) -> None:
        """Give these rows no answer but an error; where a stage is to blame, say which, and count it."""
        if stage is not None:
            error = f"stage '{stage}' failed: {error}"
            self._tally.add("littlebig_image_errors_total", len(rows), stage=stage)
        for row in rows:
            self._verdicts[row] = LOST
            self._errors[row] = error

    def _count(self, requests: Iterable[Accepted]) -> None:
        """Count the answered rows of these requests."""
        self._tally.verdicts(verdict for one in requests for verdict in self._verdicts[one.place])

    def _images(self, rows: Sequence[int], room: Pixels | None = None) -> Images:
        """The images of these rows; where they are just what one request brought, that."""
        if not rows:
            return self._accepted[0].images.part(0, 0)
        first = self._owners[rows[0]]
        if len(rows) == len(first.images) and self._owners[rows[-1]] is first:
            return first.images
        owners = [self._owners[row] for row in rows]
        places = [row - one.place.start for row, one in zip(rows, owners, strict=True)]
        return gather([one.images.pixels[at : at + 1] for one, at in zip(owners, places, strict=True)], room)


def _timeout_us(requests: Iterable[Accepted]) -> int:
    limits = [one.timeout_us for one in requests]
    return max(limits, default=0) if all(limits) else 0
