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

# Errors that are no stage's fault. Clients know the beginning of the second from Triton's own queues.
CANCELLED = "cancelled by its caller"
TIMED_OUT = "Request timeout expired before stage 'big' answered: allow the request more time"
Answer = dict[str, npt.NDArray[np.generic]] | str
# Verdicts of rows that wait for big.
_UNDECIDED = (UNSURE, BIG_ONLY)


@dataclass(slots=True, eq=False)
class Accepted:
    """A request that has passed validation.

    Attributes:
        request: Triton's; the batch only passes it on.
        images: what it brings, in memory of its own.
        wanted: names of the outputs that the caller wants.
        timeout_us: how long the caller would wait, microseconds; 0 for ever.
        options: how it wants to be answered.
        place: its rows of the batch.
        waits: whether it has no answer yet because any of them waits for big.
    """

    request: Any
    images: Images
    wanted: Sequence[str]
    timeout_us: int
    options: Options
    place: slice = field(init=False)
    waits: bool = field(default=False, init=False)


class Batch:
    """Requests that go through the gate together; each keeps its own fate. For one thread at a time.

    Args:
        accepted: the requests, in order; at least one, and each in no other batch.
        settings: the gate's.
        tally: where answers are counted.

    Attributes:
        rows: images of the batch.
        to_big: the rows that big is asked for, ascending.
        waiting: the requests that have no answer yet because any of their rows waits for big.
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
        self.to_big = [row for row, verdict in enumerate(self._verdicts) if verdict in _UNDECIDED]
        self.waiting = list(dict.fromkeys(self._owners[row] for row in self.to_big))
        for one in self.waiting:
            one.waits = True
        self._count(one for one in self._accepted if not one.waits)

    def escalated(self, cancelled: Callable[[Accepted], bool], room: Pixels | None = None) -> Images:
        """Take the requests out whose callers have gone or given up, and give the images of the others for big.

        Args:
            cancelled: whether a request's caller has gone.
            room: uint8 [images or more, H, W, 3] that they may be put into until big has them.

        Returns:
            The images of `to_big`, which may be none.
        """
        for one in self.waiting:
            if cancelled(one):
                self._lose(self._undecided(one), CANCELLED)
        self.to_big = [row for one in self.waiting for row in self._undecided(one)]
        return self._images(self.to_big, room)

    def give_up(self, one: Accepted) -> bool:
        """Do without big for a request whose caller's time is up; the others wait on.

        Returns:
            Whether it was still waiting; it has its answer now.
        """
        if one not in self.waiting:
            return False
        self.waiting.remove(one)
        one.waits = False
        self._lose(self._without_big(self._undecided(one), "caller_timeout"), TIMED_OUT)
        self._ended([one])
        return True

    def give_up_all(self) -> None:
        """Do without big for all, because big had no room for the batch while its callers had time."""
        for one in tuple(self.waiting):
            self.give_up(one)

    def take(self, result: Outputs | Failure) -> list[Accepted]:
        """Fill in big's answers, or what takes their place, for all that still wait.

        Returns:
            The requests that waited, which have their answers now.
        """
        rows = [row for one in self.waiting for row in self._undecided(one)]
        if isinstance(result, Failure):
            self._lose(self._without_big(rows, result.reason), result.message, "big")
        elif rows:
            try:
                self._take_big(result)
            except Exception as reason:  # its callers must hear of it, and half of big's answer is none of little's
                self._tally.add("littlebig_big_failures_total", len(rows), reason="error")
                self._lose(rows, f"{type(reason).__name__}: {reason}", "big")
        waited, self.waiting = self.waiting, []
        self._ended(waited)
        return waited

    def answer(self, one: Accepted) -> Answer:
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

    def patience(self) -> float | None:
        """How long, in seconds, the most patient of all the callers would wait; None where one would for ever."""
        return _timeout_us(self._accepted) / 1e6 or None

    def timeout_us(self) -> int:
        """How long those who wait for big would do so together: the longest of them, 0 where one waits for ever."""
        return _timeout_us(self.waiting)

    def _undecided(self, one: Accepted) -> list[int]:
        """A request's rows that have no answer but big's."""
        return [row for row in range(one.place.start, one.place.stop) if self._verdicts[row] in _UNDECIDED]

    def _ended(self, requests: list[Accepted]) -> None:
        """Tell who answered these requests, and count their rows."""
        self._answers.tell(self._verdicts)
        self._count(requests)

    def _take_big(self, outputs: Outputs) -> None:
        """Write big's answers, but for those rows on which little's stands, against it or for want of time."""
        taken = [place for place, row in enumerate(self.to_big) if self._verdicts[row] in _UNDECIDED]
        if self._settings.answer == "arbitrate":
            little, big = self._answers.scores("confidence"), outputs["confidence"].reshape(-1).tolist()
            for place in list(taken):
                row = self.to_big[place]
                if self._verdicts[row] == UNSURE and little_stands(little[row], big[place], self._settings.offset):
                    self._verdicts[row] = ARBITRATED
                    taken.remove(place)
        if len(taken) < len(self.to_big):
            outputs = {name: array[taken] for name, array in outputs.items()}
        self._answers.write([self.to_big[place] for place in taken], outputs)

    def _without_big(self, rows: Sequence[int], reason: str) -> list[int]:
        """Let little answer for big where it may; returns the rows where it may not."""
        self._tally.add("littlebig_big_failures_total", len(rows), reason=reason)
        lost = []
        for row in rows:
            if self._settings.on_big_failure == "little" and self._verdicts[row] == UNSURE:
                self._verdicts[row] = BIG_FAILED
            else:  # who asks for big alone has no other answer
                lost.append(row)
        return lost

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
