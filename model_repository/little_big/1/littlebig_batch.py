"""One batch on its way through the gate: what each request asks, which rows wait for big, what each is answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from littlebig_escalation import Failure, Outputs, StageFailed
from littlebig_gate import (
    BIG,
    LITTLE,
    LITTLE_BIG_FAILED,
    LITTLE_OVERLOADED,
    Answers,
    Mask,
    Question,
    gather,
    little_stands,
    plan_big,
    plan_little,
)
from littlebig_metrics import Tally
from littlebig_overload import Relief
from littlebig_settings import Settings

Images = npt.NDArray[np.uint8]
CANCELLED = "cancelled by its caller"
# Why a row has the answer it has; the place in this list is the row's code.
_REASONS = (
    ("little", "sure"),
    ("little", "policy"),
    ("big", "policy"),
    ("big", "unsure"),
    ("little", "overload"),
    ("little", "big_failed"),
    ("little", "arbitrated"),
)
_SURE, _LITTLE_ONLY, _BIG_ONLY, _UNSURE, _SPARED, _BIG_FAILED, _ARBITRATED = range(len(_REASONS))
_BY_POLICY = {"cascade": _SURE, "little": _LITTLE_ONLY, "big": _BIG_ONLY}


@dataclass(frozen=True, eq=False)
class Accepted:
    """A request that has passed validation.

    Attributes:
        request: Triton's; the batch only passes it on.
        images: uint8 [rows, H, W, 3], in memory of their own.
        wanted: names of the outputs that the caller wants.
        timeout_us: how long the caller would wait in a queue, microseconds; 0 for ever.
        question: what the gate decides on.
    """

    request: Any
    images: Images
    wanted: Sequence[str]
    timeout_us: int
    question: Question


class Batch:
    """Requests that go through the gate together; each keeps its own fate.

    Args:
        accepted: the requests, in order; at least one.
        settings: the gate's.
        tally: where answers are counted.
    """

    def __init__(self, accepted: Sequence[Accepted], settings: Settings, tally: Tally) -> None:
        """No row has an answer yet."""
        self.accepted = accepted
        self._settings, self._tally = settings, tally
        self._questions = [one.question for one in accepted]
        self._places: dict[Accepted, slice] = {}
        self.rows = 0
        for one in accepted:
            self._places[one] = slice(self.rows, self.rows + one.question.rows)
            self.rows += one.question.rows
        self._owner = np.repeat(np.arange(len(accepted)), [question.rows for question in self._questions])
        self._answers = Answers(self.rows)
        self._reason = np.array([_BY_POLICY[question.options.policy] for question in self._questions])[self._owner]
        self._failures: list[tuple[Mask, str]] = []
        self._failed = np.zeros(self.rows, np.bool_)
        self.waiting: list[Accepted] = []
        self._to_little = plan_little(self._questions)
        self._to_big = np.zeros(self.rows, np.bool_)
        self._waited = self._to_big
        self.outputs = ["label", "confidence"]
        if any("probabilities" in one.wanted for one in accepted):
            self.outputs.append("probabilities")

    def ask_little(self, call: Callable[[Images, Sequence[str], int], Outputs], room: Images | None = None) -> None:
        """Fill in little's answers, by one call for all rows that need them.

        Args:
            call: (images, output names, timeout in microseconds or 0) -> outputs; raises StageFailed.
            room: uint8 [rows or more, H, W, 3] that the images may be put into for the call.
        """
        rows = self._to_little
        if not rows.any():
            return
        gate = self._settings.gate
        outputs = self.outputs if gate in self.outputs else [*self.outputs, gate]
        try:
            self._answers.write(rows, LITTLE, call(self._gather(rows, room), outputs, self.timeout_us(rows)))
        except StageFailed as reason:
            self._fail(rows, str(reason), "little")
        else:
            self._tally.scores(self._answers.score(gate)[rows])

    def plan(self, relief: Relief) -> None:
        """Decide which rows go to big, and count those that need not."""
        plan = plan_big(self._questions, self._answers.score(self._settings.gate), relief)
        if plan.spared.any():
            self._answers.stage[plan.spared] = LITTLE_OVERLOADED
            self._reason[plan.spared] = _SPARED
        self._to_big = plan.escalated & ~self._failed
        self._reason[self._to_big & (self._reason == _SURE)] = _UNSURE
        self.waiting = self._having(self._to_big)
        self._waited = np.zeros(self.rows, np.bool_)
        for one in self.waiting:
            self._waited[self._places[one]] = True
        self._count(~self._waited)

    def escalated(self, cancelled: Callable[[Accepted], bool]) -> Images:
        """Take the waiting requests out whose callers have gone, and give the images of the others for big.

        Args:
            cancelled: whether a request's caller has gone.

        Returns:
            uint8 [images, H, W, 3]; of no image where all have gone.
        """
        wanted = self._to_big.copy()
        for one in self.waiting:
            if cancelled(one):
                wanted[self._places[one]] = False
        gone = self._to_big & ~wanted
        if gone.any():
            self._fail(gone, CANCELLED)
            self._to_big = wanted
        return self._gather(wanted)

    def take(self, result: Outputs | Failure) -> None:
        """Fill in big's answers, or what takes their place, and count the requests that waited for them."""
        rows = self._to_big
        if isinstance(result, Failure):
            self._do_without_big(rows, result)
        elif rows.any():
            stands = np.zeros(self.rows, np.bool_)
            if self._settings.answer == "arbitrate":
                little, big = self._answers.score("confidence")[rows], _column(result["confidence"])
                stands[rows] = self._to_little[rows] & little_stands(little, big, self._settings.offset)
            taken = rows & ~stands
            self._answers.write(taken, BIG, {name: array[taken[rows]] for name, array in result.items()})
            self._reason[stands] = _ARBITRATED
        self._count(self._waited)

    def answer(self, one: Accepted) -> dict[str, npt.NDArray[np.generic]] | str:
        """A request's outputs by name, or why it has none."""
        place = self._places[one]
        for mask, message in self._failures:
            if mask[place].any():
                return message
        return {name: array for name, array in self._answers.part(place).items() if name in one.wanted}

    def sure(self) -> Iterator[tuple[Images, npt.NDArray[np.generic]]]:
        """Per request with any: the images that little alone decided, and its labels for them."""
        sure = (self._reason == _SURE) & ~self._failed
        for one in self._having(sure):
            place = self._places[one]
            yield one.images[sure[place]], self._answers.tensors["label"][place][sure[place]]

    def timeout_us(self, rows: Mask) -> int:
        """How long the callers of these rows would wait together: the longest of them, 0 where one waits for ever."""
        limits = [one.timeout_us for one in self._having(rows)]
        return max(limits, default=0) if all(limits) else 0

    @property
    def to_big(self) -> Mask:
        """The rows that wait for big, boolean [rows]."""
        return self._to_big

    def _do_without_big(self, rows: Mask, failure: Failure) -> None:
        self._tally.add("littlebig_big_failures_total", int(rows.sum()), reason=failure.reason)
        lost = rows
        if self._settings.on_big_failure == "little":
            kept = rows & self._to_little
            self._answers.stage[kept] = LITTLE_BIG_FAILED
            self._reason[kept] = _BIG_FAILED
            lost = rows & ~kept  # who asks for big alone has no other answer
        if lost.any():
            self._fail(lost, failure.message, "big")

    def _fail(self, rows: Mask, message: str, stage: str | None = None) -> None:
        """Give these rows no answer but a message; where a stage is to blame, say which, and count it."""
        if stage is not None:
            message = f"stage '{stage}' failed: {message}"
            self._tally.add("littlebig_image_errors_total", int(rows.sum()), stage=stage)
        self._failures.append((rows, message))
        self._failed = self._failed | rows

    def _count(self, rows: Mask) -> None:
        """Count the answered ones of these rows."""
        for code, count in Counter(self._reason[rows & ~self._failed].tolist()).items():
            stage, reason = _REASONS[code]
            self._tally.add("littlebig_images_total", count, stage=stage, reason=reason)

    def _having(self, rows: Mask) -> list[Accepted]:
        """The requests with any of these rows."""
        return [self.accepted[number] for number in dict.fromkeys(self._owner[rows].tolist())]

    def _gather(self, rows: Mask, room: Images | None = None) -> Images:
        return gather([one.images for one in self.accepted], rows, room)


def _column(array: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    return array.reshape(-1).astype(np.float32, copy=False)
