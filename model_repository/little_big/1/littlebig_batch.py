"""One batch of requests: little's answers, the decision of each row, and each request's response."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from littlebig_audit import Chosen, Prediction
from littlebig_errors import CALLER_TIMEOUT, CANCELLED, INTERNAL, BigFailure, GateError, StageFailed
from littlebig_gate import (
    ARBITRATED,
    BIG_FAILED,
    BIG_ONLY,
    BY_POLICY,
    LOST,
    NEEDS_BIG,
    SHED,
    STAGE_CODES,
    SURE,
    UNSURE,
    escalate,
    little_wins,
    shed,
)
from littlebig_images import Images, Pixels, gather
from littlebig_metrics import Tally
from littlebig_overload import ThresholdScaling
from littlebig_request import Request, longest_timeout_us
from littlebig_settings import GateSettings

# Output name -> array [rows, ...].
Outputs = Mapping[str, npt.NDArray[np.generic]]
# A call of a stage: (images, output names, timeout in microseconds or 0) -> outputs. It blocks, and raises StageFailed.
Call = Callable[[Images, Sequence[str], int], Outputs]
# What a request gets: its outputs, or an error.
Response = Outputs | GateError


class Batch:
    """Requests that one `execute` call brought. For one thread at a time.

    Args:
        requests: in order; at least one, and each in no other batch.
        settings: the gate's.
        tally: where answers are counted.

    Attributes:
        requests: as given.
        outputs: names of the outputs that the stages are asked for.
        waiting: the requests that have no answer yet, because one of their rows needs big.
    """

    def __init__(self, requests: Sequence[Request], settings: GateSettings, tally: Tally) -> None:
        """No row has an answer yet."""
        self.requests, self._settings, self._tally = requests, settings, tally
        self._decisions: list[int] = []
        self._owners: list[Request] = []  # of each row
        for request in requests:
            start = len(self._owners)
            self._owners += [request] * len(request.images)
            self._decisions += [BY_POLICY[request.options.policy]] * len(request.images)
            request.rows = range(start, len(self._owners))
        self._answers: dict[str, npt.NDArray[np.generic]] = {}
        self._errors: dict[int, GateError] = {}
        self.outputs = ["label", "confidence"]
        if any("probabilities" in request.outputs for request in requests):
            self.outputs.append("probabilities")
        self.waiting: list[Request] = []

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._owners)

    def max_wait_s(self) -> float | None:
        """Seconds after which the last caller gives up; None if one has no time limit."""
        return longest_timeout_us(self.requests) / 1e6 or None

    def ask_little(self, call: Call, buffer: Pixels | None = None) -> None:
        """Fill in little's answers, by one call for all rows that need them.

        Args:
            call: of little.
            buffer: to gather the images in.
        """
        rows = [row for row, decision in enumerate(self._decisions) if decision != BIG_ONLY]
        if not rows:
            return
        score = self._settings.score
        outputs = self.outputs if score in self.outputs else [*self.outputs, score]
        if self._settings.audit_folder and "margin" not in outputs:  # kept audits have both scores
            outputs = [*outputs, "margin"]
        callers = (request for request in self.requests if request.options.policy != "big")
        try:
            answers = call(self.images(rows, buffer), outputs, longest_timeout_us(callers))
        except StageFailed as failure:
            self._lose_to_stage("little", rows, str(failure))
        else:
            self._write(rows, answers)
            self._tally.count_scores(answers[score].reshape(-1).tolist())

    def decide(self, scaling: ThresholdScaling) -> None:
        """Find the rows that need big, and finish the requests that have none."""
        scores = self._little(self._settings.score)
        thresholds = [request.options.threshold for request in self._owners]
        self._decisions = escalate(self._decisions, scores, thresholds)
        if scaling.target_s:
            self._decisions = shed(self._decisions, scores, thresholds, scaling)
        for request, decision in zip(self._owners, self._decisions, strict=True):
            if decision in NEEDS_BIG:
                request.waits_for_big = True
        self.waiting = [request for request in self.requests if request.waits_for_big]
        self._finish(request for request in self.requests if not request.waits_for_big)

    def needs_big(self, request: Request) -> list[int]:
        """The request's rows that only big can answer."""
        return [row for row in request.rows if self._decisions[row] in NEEDS_BIG]

    def rows_to_audit(self, unsure: bool) -> list[int]:
        """Rows that an audit may choose: of policy `cascade`, scored by little.

        Args:
            unsure: whether unsure and shed rows count as well as sure ones.
        """
        wanted = (SURE, UNSURE, SHED) if unsure else (SURE,)
        return [row for row, decision in enumerate(self._decisions) if decision in wanted]

    def chosen(self, row: int) -> Chosen:
        """A row for the audit; its image is copied, because its request is about to be answered."""
        request, margin = self._owners[row], self._answers.get("margin")
        image = row - request.rows.start
        return Chosen(
            request.images.pixels[image : image + 1].copy(),
            Prediction(
                int(self._answers["label"][row].item()),
                float(self._answers["confidence"][row].item()),
                math.nan if margin is None else float(margin[row].item()),
            ),
            sure=self._decisions[row] == SURE,
        )

    def images(self, rows: Sequence[int], buffer: Pixels | None = None) -> Images:
        """The images of some rows: a request's own tensor if they are exactly its images, else a copy.

        Args:
            rows: ascending; may be none.
            buffer: uint8 [images, H, W, 3] for the copy; if it is None or too small, a new array is made.
        """
        if not rows:
            return self.requests[0].images.part(0, 0)
        first = self._owners[rows[0]]
        if len(rows) == len(first.images) and self._owners[rows[-1]] is first:
            return first.images
        parts = []
        for row in rows:
            request = self._owners[row]
            image = row - request.rows.start
            parts.append(request.images.pixels[image : image + 1])
        return gather(parts, buffer)

    def cancel(self, request: Request) -> None:
        """Do not ask big for a request whose caller has cancelled it."""
        self._lose(self.needs_big(request), GateError(CANCELLED, "cancelled by its caller"))

    def finish_with_big(self, requests: Sequence[Request], rows: Sequence[int], answers: Outputs) -> None:
        """Take big's answers for the requests that still wait.

        Args:
            requests: the requests to finish.
            rows: that big was asked for; more than these requests' if others have given up since.
            answers: big's, in the order of `rows`.
        """
        waiting = [row for request in requests for row in self.needs_big(request)]
        try:
            if waiting:
                self._take_big(rows, answers)
        except Exception as problem:  # the answers may be half written, so little's cannot be used either
            self._tally.count("littlebig_big_failures_total", len(waiting), reason="error")
            self._lose_to_stage("big", waiting, f"{type(problem).__name__}: {problem}")
        self._finish(requests)

    def finish_without_big(self, requests: Sequence[Request], failure: BigFailure) -> None:
        """Answer requests with little in big's place where settings allow it, else with an error.

        Rows of policy `big` have no other answer.
        """
        rows = [row for request in requests for row in self.needs_big(request)]
        self._tally.count("littlebig_big_failures_total", len(rows), reason=failure.reason)
        lost = []
        for row in rows:
            if self._settings.on_big_failure == "little" and self._decisions[row] == UNSURE:
                self._decisions[row] = BIG_FAILED
            else:
                lost.append(row)
        if failure is CALLER_TIMEOUT:  # which is not the stage's fault
            self._lose(lost, GateError(failure.error_code, failure.message))
        else:
            self._lose_to_stage("big", lost, failure.message)
        self._finish(requests)

    def give_up(self) -> None:
        """Finish all requests without big, because no slot was free before their time limits."""
        waiting, self.waiting = self.waiting, []
        self.finish_without_big(waiting, CALLER_TIMEOUT)

    def response(self, request: Request) -> Response:
        """A finished request's outputs, or the error of its first row that has one."""
        if self._errors:
            for row in request.rows:
                if row in self._errors:
                    return self._errors[row]
        rows = slice(request.rows.start, request.rows.stop)
        return {name: array[rows] for name, array in self._answers.items() if name in request.outputs}

    def _take_big(self, asked: Sequence[int], answers: Outputs) -> None:
        """Write big's answers, except where arbitration keeps little's or the caller has given up."""
        taken = [index for index, row in enumerate(asked) if self._decisions[row] in NEEDS_BIG]
        if self._settings.answer == "arbitrate":
            little, big = self._little("confidence"), answers["confidence"].reshape(-1).tolist()
            for index in list(taken):
                row = asked[index]
                if self._decisions[row] == UNSURE and little_wins(little[row], big[index], self._settings.offset):
                    self._decisions[row] = ARBITRATED
                    taken.remove(index)
        if len(taken) < len(asked):
            answers = {name: array[taken] for name, array in answers.items()}
        self._write([asked[index] for index in taken], answers)

    def _finish(self, requests: Iterable[Request]) -> None:
        """Write who answered these requests, and count their rows."""
        # A new array each time: earlier responses may still read the one before.
        self._answers["stage"] = np.array([STAGE_CODES[decision] for decision in self._decisions], np.int32)[:, None]
        rows: list[int] = []
        for request in requests:
            request.waits_for_big = False
            rows += request.rows
        self._tally.count_decisions(self._decisions[row] for row in rows)

    def _lose_to_stage(self, stage: str, rows: Sequence[int], message: str) -> None:
        """Give rows an error that names the stage which failed, and count them against it."""
        self._tally.count("littlebig_image_errors_total", len(rows), stage=stage)
        self._lose(rows, GateError(INTERNAL, f"stage '{stage}' failed: {message}"))

    def _lose(self, rows: Sequence[int], error: GateError) -> None:
        for row in rows:
            self._decisions[row] = LOST
            self._errors[row] = error

    def _write(self, rows: Sequence[int], answers: Outputs) -> None:
        """Write a stage's answers for some rows, given in the order of the rows."""
        for name, array in answers.items():
            if len(rows) == len(self):  # take the array itself, if big could write into it later
                self._answers[name] = array if array.flags.writeable else array.copy()
                continue
            if name not in self._answers:
                self._answers[name] = np.zeros((len(self), *array.shape[1:]), array.dtype)
            self._answers[name][rows] = array

    def _little(self, name: str) -> list[float]:
        """Little's `confidence` or `margin` per row; zeros if it has not answered."""
        if name not in self._answers:
            return [0.0] * len(self)
        values: list[float] = self._answers[name].reshape(-1).tolist()
        return values
