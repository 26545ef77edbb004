"""Triton's adapter to the gate: takes waiting requests, calls the stages, answers each request.

One call of the little stage per batch of waiting requests. Sure requests are answered by returning from `execute`,
which costs one message for all of them and frees the instance for the next batch; the others are answered through
their response senders when big is done (a model that is not decoupled may do so since Triton 24.06). What was
measured is in docs/gate.md, what else was tried in docs/gate-experiments.md.
"""

from __future__ import annotations

import asyncio  # noqa: F401  (Triton's stub imports it for the first request, which would wait for that)
import json
import math
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from littlebig_alarms import Alarms
from littlebig_audit import Auditor
from littlebig_batch import CANCELLED, TIMED_OUT, Accepted, Answer, Batch
from littlebig_breaker import CLOSED
from littlebig_escalation import BigStage, Place, StageFailed
from littlebig_gate import BadRequest, Options
from littlebig_heap import keep_freed_memory
from littlebig_images import Images, Pixels
from littlebig_metrics import Publisher, Tally
from littlebig_overload import NO_RELIEF, Backlog, Relief
from littlebig_settings import BadSetting, Settings
from littlebig_waiting import Waiting

# Seconds between two looks at time limits, thresholds and probes, and between two publications of metrics.
_TICK, _PUBLISH = 0.1, 1.0
# Whether a caller has gone is asked by a message to Triton, which costs as much as an answer: not within this many
# seconds since Triton, which drops cancelled requests from its own queue, handed the request over. Few give up sooner.
_FRESH = 0.1
# Errors that are no failure of the server's, by the name of their code: pb_utils has the codes after the import only.
_CODES = {CANCELLED: "CANCELLED", TIMED_OUT: "UNAVAILABLE"}


class TritonPythonModel:
    """The gate as a BLS model."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the settings; a wrong one fails the load with its name."""
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
        try:
            self.settings = settings = Settings.of_model(parameters)
        except BadSetting as reason:
            raise pb_utils.TritonModelException(f"{args['model_name']}: {reason}") from None
        self.defaults = Options(settings.threshold, settings.policy)
        self.max_batch_size = config["max_batch_size"]
        self.image_dims = config["input"][0]["dims"]
        self.rooms = threading.local()
        self._room()
        self.big = BigStage(
            lambda images, outputs, timeout_us: _call("big", images, outputs, timeout_us),
            in_flight=settings.max_batches_in_flight,
            timeout=settings.big_timeout_ms / 1e3,
            retry=settings.breaker_retry_ms / 1e3,
            max_batch_size=settings.big_max_batch_size or self.max_batch_size,
            prepare=self._room,
        )
        self.alarms = Alarms()
        self.backlog = Backlog()
        self.tally = Tally()
        self.audit = Auditor(
            settings.audit_rate,
            ask=lambda image: int(_call("big", Images(image), ["label"], 0)["label"][0, 0]),
            busy=lambda: self.big.batches > 0 or self.big.breaker.state != CLOSED,
            count=lambda outcome: self.tally.add("littlebig_audits_total", 1, outcome=outcome),
        )
        self.publisher = Publisher(pb_utils, args["model_name"], args["model_instance_name"])
        self._publish()
        # As many as one batch brings, and those of another that wait for big; now that all that stays has its memory.
        keep_freed_memory(2 * self.max_batch_size, math.prod(self.image_dims))
        self.stopping = threading.Event()
        self.clockwork = threading.Thread(target=self._run_clockwork, daemon=True)
        self.clockwork.start()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every waiting request, or leave None for those that are answered when big is done.

        A wrong request gets its own error and does not touch its neighbours.
        """
        started = time.monotonic()
        self.backlog.batch_started(started)
        examined = [self._examine(request) for request in requests]
        accepted = [entry for entry in examined if isinstance(entry, Accepted)]
        if not accepted:
            self.backlog.batch_ended(time.monotonic(), full=False)
            return examined
        batch = Batch(accepted, self.settings, self.tally)
        with self.big.reserve(batch.patience()) as place:
            self._decide(batch)
            if place is None:
                batch.give_up_all()
            responses = [self._now(batch, entry) for entry in examined]
            if place is not None and batch.waiting:
                self._escalate(batch, place, started)
        self.backlog.batch_ended(time.monotonic(), full=batch.rows >= self.max_batch_size)
        return responses

    def finalize(self) -> None:
        """Stop what runs beside the requests, all of which are answered when Triton calls this."""
        self.stopping.set()
        self.clockwork.join()
        self.audit.stop()
        self.publisher.close(self.tally)

    def _examine(self, request: Any) -> Any:
        """The request as Accepted, or the response that says what is wrong with it."""
        try:
            options = self.defaults.with_request(request.parameters())
        except BadRequest as reason:
            return _error(str(reason), pb_utils.TritonError.INVALID_ARG)
        (tensor,) = request.inputs()
        # The stub has copied them out of shared memory: this array is ours, also after the request is answered.
        images = Images(tensor.as_numpy(), tensor)
        return Accepted(request, images, request.requested_output_names(), request.timeout(), options)

    def _decide(self, batch: Batch) -> None:
        """Ask little, and find what it is unsure of."""
        batch.ask_little(lambda images, outputs, timeout_us: _call("little", images, outputs, timeout_us), self._room())
        batch.plan(self._relief())
        if self.audit.rate:
            for images, labels in batch.sure():
                self.audit.choose(images, labels)

    def _escalate(self, batch: Batch, place: Place, started: float) -> None:
        """Send the batch's unsure rows to big, and answer those who wait for them when it is done."""
        rows, outputs, timeout_us = len(batch.to_big), batch.outputs, batch.timeout_us()
        senders = {one: one.request.get_response_sender() for one in batch.waiting}

        def gone(one: Accepted) -> bool:
            return time.monotonic() - started > _FRESH and bool(one.request.is_cancelled())

        def answer(answers: Sequence[tuple[Accepted, Answer]]) -> None:
            # All are made before any is sent: to send one is to wait for Triton.
            responses = [(senders[one], _response(told)) for one, told in answers]
            for sender, response in responses:
                sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

        waiting = Waiting(batch, started, answer, self.alarms)
        self.big.ask(place, lambda: waiting.images(gone, self._room()), rows, outputs, timeout_us, waiting.settle)

    def _room(self) -> Pixels:
        """Where the calling thread gathers images: the heap grows when each batch gets fresh memory of its own size.

        Written to when it is made, at load, so that memory does not grow bit by bit as larger batches come either.
        """
        if not hasattr(self.rooms, "pixels"):
            self.rooms.pixels = np.full((self.max_batch_size, *self.image_dims), 0, np.uint8)
        pixels: Pixels = self.rooms.pixels
        return pixels

    def _now(self, batch: Batch, entry: Any) -> Any:
        """What `execute` returns for one request: its response, or None if it waits for big."""
        if not isinstance(entry, Accepted):
            return entry
        return None if entry.waits else _response(batch.answer(entry))

    def _relief(self) -> Relief:
        """How far to lower thresholds for images that are escalated now."""
        if not self.settings.latency_target_ms:
            return NO_RELIEF
        return Relief(
            wait=self.backlog.seconds(time.monotonic()) + self.big.seconds(),
            per_image=self.big.seconds_per_image(),
            target=self.settings.latency_target_ms / 1e3,
            floor=self.settings.threshold_floor,
        )

    def _run_clockwork(self) -> None:
        """Everything that happens by the clock and not by a request."""
        published = time.monotonic()
        while not self.stopping.wait(_TICK):
            try:
                self.big.tick()
                self.audit.tick()
                if time.monotonic() - published >= _PUBLISH:
                    self._publish()
                    published = time.monotonic()
            except Exception as reason:  # a metric that cannot be sent must not stop time limits
                pb_utils.Logger.log_error(f"little_big: {type(reason).__name__}: {reason}")

    def _publish(self) -> None:
        settings, level = self.settings, self.tally.level
        level("littlebig_threshold", settings.threshold, kind="configured")
        level("littlebig_threshold", self._relief().threshold(settings.threshold), kind="effective")
        level("littlebig_batches_in_flight", self.big.batches)
        level("littlebig_max_batches_in_flight", self.big.limit)
        level("littlebig_breaker_state", self.big.breaker.state)
        for bound, rate in (("low", settings.calibrated_escalation_low), ("high", settings.calibrated_escalation_high)):
            if rate is not None:
                level("littlebig_calibrated_escalation_rate", rate, bound=bound)
        if settings.calibrated_disagreement is not None:
            level("littlebig_calibrated_disagreement", settings.calibrated_disagreement)
        self.publisher.publish(self.tally)


def _call(stage: str, images: Images, outputs: Sequence[str], timeout_us: int) -> dict[str, Any]:
    """One BLS call: the stage's outputs as NumPy arrays by name."""
    call = pb_utils.InferenceRequest(
        model_name=stage,
        requested_output_names=list(outputs),
        inputs=[images.tensor or pb_utils.Tensor("image", images.pixels)],
        timeout=timeout_us,
        # Stages run where they like; the gate reads a few bytes per image, and NumPy reads CPU memory only.
        preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
    )
    response = call.exec()
    if response.has_error():
        raise StageFailed(response.error().message())
    answers = {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors()}
    for name, array in answers.items():
        if len(array) != len(images):
            raise StageFailed(f"output '{name}' has {len(array)} rows for {len(images)} images")
    return answers


def _response(answer: Answer) -> Any:
    if isinstance(answer, str):
        return _error(answer, getattr(pb_utils.TritonError, _CODES.get(answer, "INTERNAL")))
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in answer.items()])


def _error(message: str, code: int) -> Any:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
