"""Triton's adapter to littlebig_gate: gathers waiting requests, calls the stages, answers each request.

One call of the little stage per batch of waiting requests and one of the big stage for its unsure rows: a BLS call
costs far more than the NumPy around it, and the stages' own dynamic batchers merge further.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import triton_python_backend_utils as pb_utils
from littlebig_gate import (
    BIG,
    LITTLE,
    Answers,
    BadRequest,
    Mask,
    Options,
    Question,
    gather,
    plan_big,
    plan_little,
)


class StageFailed(Exception):
    """A stage's call came back with an error."""


@dataclass(frozen=True)
class Accepted:
    """A request that has passed validation, with its images (uint8 [rows, H, W, 3])."""

    request: Any
    images: Any
    question: Question


class TritonPythonModel:
    """The gate as a BLS model."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the defaults; a wrong one fails the load with its name."""
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
        try:
            self.defaults = Options.of_model(parameters)
        except BadRequest as reason:
            raise pb_utils.TritonModelException(f"little_big: {reason}") from None

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every waiting request; a wrong one gets its own error and does not touch its neighbours."""
        examined = [self._examine(request) for request in requests]
        batch = [entry for entry in examined if isinstance(entry, Accepted)]
        answered = iter(self._answer(batch))
        return [next(answered) if isinstance(entry, Accepted) else entry for entry in examined]

    def _examine(self, request: Any) -> Any:
        """The request as Accepted, or the response that says what is wrong with it."""
        try:
            options = self.defaults.with_request(request.parameters())
        except BadRequest as reason:
            return _error(str(reason), pb_utils.TritonError.INVALID_ARG)
        images = pb_utils.get_input_tensor_by_name(request, "image").as_numpy()
        return Accepted(request, images, Question(len(images), options))

    def _answer(self, batch: list[Accepted]) -> list[Any]:
        """One response per request of the batch, in order."""
        questions = [accepted.question for accepted in batch]
        answers = Answers(sum(question.rows for question in questions))
        outputs = ["label", "confidence"]
        if any("probabilities" in accepted.request.requested_output_names() for accepted in batch):
            outputs.append("probabilities")
        failures: list[tuple[Mask, str]] = []
        for stage, name in ((LITTLE, "little"), (BIG, "big")):
            rows = plan_little(questions) if stage == LITTLE else plan_big(questions, answers.confidence())
            for mask, _ in failures:
                rows = rows & ~mask  # what has failed already is not asked again
            if not rows.any():
                continue
            try:
                answers.write(rows, stage, _call(name, gather([one.images for one in batch], rows), outputs))
            except StageFailed as reason:
                failures.append((rows, f"stage '{name}' failed: {reason}"))
        responses, start = [], 0
        for accepted in batch:
            share = slice(start, start + accepted.question.rows)
            failed = [message for mask, message in failures if mask[share].any()]
            if failed:
                responses.append(_error(failed[0], pb_utils.TritonError.INTERNAL))
            else:
                responses.append(_response(accepted.request, answers.part(start, accepted.question.rows)))
            start += accepted.question.rows
        return responses


def _call(stage: str, images: Any, outputs: list[str]) -> dict[str, Any]:
    """One BLS call: the stage's outputs as NumPy arrays by name."""
    call = pb_utils.InferenceRequest(
        model_name=stage,
        requested_output_names=outputs,
        inputs=[pb_utils.Tensor("image", images)],
        # Stages run where they like; the gate reads a few bytes per image, and NumPy reads CPU memory only.
        preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
    )
    response = call.exec()
    if response.has_error():
        raise StageFailed(response.error().message())
    return {name: pb_utils.get_output_tensor_by_name(response, name).as_numpy() for name in outputs}


def _response(request: Any, answer: dict[str, Any]) -> Any:
    wanted = request.requested_output_names()
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, answer[name]) for name in answer if name in wanted])


def _error(message: str, code: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
