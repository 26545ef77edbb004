"""The gate as Triton runs it: a BLS model between callers and the two stages.

A batch's way, one call after the other:

    execute           Triton hands over the requests that arrived while this instance was busy
      _examine        a wrong request gets its error; the others form a Batch           littlebig_request
      acquire_slot    wait until one more batch may be in flight: back pressure         littlebig_big_stage
      ask_little      one call of little for all images of the batch                    littlebig_batch
      decide          a row with score < threshold needs big                            littlebig_gate
      _returned       the response of a request that needs no more; None for the others
      _escalate       the unsure rows of the others become an EscalatedBatch            littlebig_escalated_batch
        submit        to a worker thread; `execute` returns and takes the next batch    littlebig_big_stage

    on a worker thread                                                                  littlebig_workers
      images          without cancelled requests, gathered in the worker's buffer
      _call           of big, whose own batcher merges it with those of other batches
      settle          each request gets big's answer, little's in its place, or an error
      _respond        through the response senders

    on the timer: callers' time limits, big's time limit, probes, audits, metrics       littlebig_timer

Returned responses cost one message for all of them, sent ones a message each, so only what must wait is sent. (A model
that is not decoupled may answer through response senders since Triton 24.06.) Only this module knows Triton.
"""

from __future__ import annotations

import asyncio  # noqa: F401  (Triton's stub imports it for the first request, which would have to wait for it)
import json
import math
import re
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils
from littlebig_audit import Auditor, Prediction
from littlebig_audit_folder import AuditFolder, describe_run
from littlebig_batch import Batch, Outputs, Response
from littlebig_big_stage import BigStage, InFlightSlot
from littlebig_breaker import CLOSED
from littlebig_errors import INVALID_ARG, GateError, StageFailed
from littlebig_escalated_batch import EscalatedBatch
from littlebig_heap import keep_freed_memory
from littlebig_images import Images, Pixels, make_buffer
from littlebig_metrics import Publisher, Tally
from littlebig_overload import NO_SCALING, Backlog, ThresholdScaling
from littlebig_quoting import quoted
from littlebig_request import Options, Permission, Request
from littlebig_settings import BadSetting, GateSettings
from littlebig_timer import Timer
from littlebig_watchdog import Watchdog, end_if_clock_steps

# Poll interval, and interval between publications of metrics, in seconds.
_POLL_S, _PUBLISH_S = 0.1, 1.0
# Checking cancellation costs an IPC round trip, so skip it for the first 100 ms: Triton drops cancelled requests from
# its own queue, and few callers give up sooner.
_CANCELLATION_GRACE_S = 0.1
_BATCH_DIMS = 4
# Most characters of a stage's error that callers and logs get.
_LONGEST_ERROR = 300
# What every request of a stage's batch gets if one of them, sent by a stranger, claims 0 or 2^32 images.
_CLAIMED_BATCH = re.compile(r"batch size \d+ for '.*', max allowed is \d+")


class TritonPythonModel:
    """The gate as a BLS model."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the settings and start the threads; a wrong setting fails the load with its name."""
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
        try:
            self.settings = settings = GateSettings.from_parameters(parameters)
            folder = self._audit_folder(Path(args["model_repository"]).parent, config["input"][0]["dims"])
        except BadSetting as reason:
            raise pb_utils.TritonModelException(f"{args['model_name']}: {reason}") from None
        self.defaults = Options(settings.threshold, settings.policy)
        self.permission = Permission.from_settings(settings)
        self.max_batch_size = config["max_batch_size"]
        dims = config["input"][0]["dims"]
        self.buffer = make_buffer(self.max_batch_size, dims)
        self.big = BigStage(
            partial(_call, "big"),
            max_in_flight=settings.max_batches_in_flight,
            timeout_s=settings.big_timeout_ms / 1e3,
            retry_s=settings.breaker_retry_ms / 1e3,
            max_batch_size=settings.big_max_batch_size or self.max_batch_size,
            make_buffer=partial(make_buffer, self.max_batch_size, dims),
        )
        self.backlog = Backlog()
        self.tally = Tally()
        self.audit = Auditor(
            settings.audit_rate,
            self._audit_by_big,
            lambda: self.big.batches > 0,
            lambda: self.big.breaker.state != CLOSED,
            partial(self._count_audit, "littlebig_audits_total"),
            folder,
        )
        self.publisher = Publisher(pb_utils, args["model_name"], args["model_instance_name"])
        self._publish()
        # Pre-fault two batches after the long-lived allocations: one that comes in, and one that waits for big.
        keep_freed_memory(2 * self.max_batch_size, math.prod(dims))
        self.timer = Timer(lambda problem: pb_utils.Logger.log_error(f"little_big: {quoted(problem, _LONGEST_ERROR)}"))
        self.timer.every(_POLL_S, self.big.poll)
        self.timer.every(_POLL_S, self.audit.poll)
        self.timer.every(_PUBLISH_S, self._publish)
        self.watchdog = Watchdog()

    @end_if_clock_steps
    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request, or return None for those that are answered when big is done.

        A wrong request gets an error of its own and does not affect its neighbours.
        """
        received = time.monotonic()
        self.backlog.batch_started(received)
        examined = [self._examine(request, received) for request in requests]
        accepted = [entry for entry in examined if isinstance(entry, Request)]
        if not accepted:
            self.backlog.batch_ended(time.monotonic(), full=False)
            return [_response(entry) for entry in examined if isinstance(entry, GateError)]
        batch = Batch(accepted, self.settings, self.tally)
        with self.big.acquire_slot(batch.max_wait_s()) as slot:
            batch.ask_little(partial(_call, "little"), self.buffer)
            batch.decide(self._threshold_scaling())
            self._choose_audits(batch)
            if slot is None:
                batch.give_up()
            responses = [self._returned(batch, entry) for entry in examined]
            if slot is not None and batch.waiting:
                self._escalate(batch, slot)
        self.backlog.batch_ended(time.monotonic(), full=len(batch) >= self.max_batch_size)
        return responses

    def finalize(self) -> None:
        """Stop the threads. All requests are answered when Triton calls this."""
        self.timer.stop()
        self.audit.stop()
        self.publisher.close(self.tally)
        self.watchdog.stop()

    def _examine(self, request: Any, received: float) -> Request | GateError:
        """The request with its options, or what is wrong with it."""
        try:
            options = self.defaults.override(request.parameters(), self.permission)
        except GateError as error:
            return error
        except ValueError as problem:  # over HTTP, text that is no UTF-8
            return GateError(INVALID_ARG, f"the request's parameters cannot be read: {quoted(problem)}")
        (tensor,) = request.inputs()
        # The stub has copied the images out of shared memory: this array stays ours when the request is answered.
        images = Images(tensor.as_numpy(), tensor)
        if images.pixels.ndim != _BATCH_DIMS:  # Triton 24.10 lets a batch of 0 or 2^32 images pass, as no batch at all
            return GateError(INVALID_ARG, "input 'image' claims an impossible number of images: send [images, H, W, 3]")
        return Request(request, images, request.requested_output_names(), request.timeout(), options, received)

    def _returned(self, batch: Batch, entry: Request | GateError) -> Any:
        """What `execute` returns for a request: its response, or None if it waits for big."""
        if isinstance(entry, GateError):
            return _response(entry)
        return None if entry.waits_for_big else _response(batch.response(entry))

    def _escalate(self, batch: Batch, slot: InFlightSlot) -> None:
        """Send the batch's unsure rows to big; another thread answers the requests that wait for them."""
        for request in batch.waiting:
            request.sender = request.triton.get_response_sender()
        self.big.submit(EscalatedBatch(batch, self._is_cancelled, self._respond, self.timer), slot)

    def _is_cancelled(self, request: Request) -> bool:
        return time.monotonic() - request.received > _CANCELLATION_GRACE_S and bool(request.triton.is_cancelled())

    def _respond(self, responses: Sequence[tuple[Request, Response]]) -> None:
        """Send responses. All are made before the first is sent, because sending waits for Triton."""
        ready = [(request.sender, _response(response)) for request, response in responses]
        for sender, response in ready:
            sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _threshold_scaling(self) -> ThresholdScaling:
        """How far to lower thresholds for images that are escalated now."""
        if not self.settings.latency_target_ms:
            return NO_SCALING
        return ThresholdScaling(
            wait_s=self.backlog.seconds(time.monotonic()) + self.big.wait_s(),
            per_image_s=self.big.seconds_per_image(),
            target_s=self.settings.latency_target_ms / 1e3,
            floor=self.settings.threshold_floor,
        )

    def _choose_audits(self, batch: Batch) -> None:
        if self.audit.rate:
            for row in self.audit.toss(batch.rows_to_audit(unsure=self.audit.keeps)):
                self.audit.choose(batch.chosen(row))

    def _audit_by_big(self, image: Pixels) -> Prediction:
        answer = _call("big", Images(image), ["label", "confidence", "margin"], 0)
        label, confidence, margin = (answer[name].item() for name in ("label", "confidence", "margin"))
        return Prediction(int(label), float(confidence), float(margin))

    def _audit_folder(self, repository: Path, dims: Sequence[int]) -> AuditFolder | None:
        """Where audits are kept, if they are."""
        settings = self.settings
        if not settings.audit_folder:
            return None
        about = describe_run(repository, settings, dims)
        log = pb_utils.Logger.log_error
        return AuditFolder(
            Path(settings.audit_folder),
            settings.audit_rows,
            about,
            lambda problem: log(f"little_big: {quoted(problem, _LONGEST_ERROR)}"),
            partial(self._count_audit, "littlebig_kept_audits_total"),
        )

    def _count_audit(self, metric: str, outcome: str) -> None:
        self.tally.count(metric, 1, outcome=outcome)

    def _publish(self) -> None:
        """Send counts and gauges to Triton."""
        settings, set_gauge = self.settings, self.tally.set_gauge
        set_gauge("littlebig_threshold", settings.threshold, kind="configured")
        set_gauge("littlebig_threshold", self._threshold_scaling().threshold(settings.threshold), kind="effective")
        set_gauge("littlebig_batches_in_flight", self.big.batches)
        set_gauge("littlebig_max_batches_in_flight", self.big.max_in_flight)
        set_gauge("littlebig_breaker_state", self.big.breaker.state)
        for bound, rate in (("low", settings.calibrated_escalation_low), ("high", settings.calibrated_escalation_high)):
            if rate is not None:
                set_gauge("littlebig_calibrated_escalation_rate", rate, bound=bound)
        if settings.calibrated_disagreement is not None:
            set_gauge("littlebig_calibrated_disagreement", settings.calibrated_disagreement)
        self.publisher.publish(self.tally)


def _call(stage: str, images: Images, outputs: Sequence[str], timeout_us: int) -> Outputs:
    """Call a stage through BLS; blocks.

    Args:
        stage: `little` or `big`.
        images: at least one.
        outputs: names of the outputs to ask for.
        timeout_us: for the stage's queue, in microseconds; 0 for none.

    Returns:
        Output name -> array [images, ...].

    Raises:
        StageFailed: if the stage returns an error or another number of rows.
    """
    try:
        return _call_once(stage, images, outputs, timeout_us)
    except StageFailed as failure:
        if failure.blames_stage:
            raise
        return _call_once(stage, images, outputs, timeout_us)


def _call_once(stage: str, images: Images, outputs: Sequence[str], timeout_us: int) -> Outputs:
    call = pb_utils.InferenceRequest(
        model_name=stage,
        requested_output_names=list(outputs),
        inputs=[images.tensor or pb_utils.Tensor("image", images.pixels)],
        timeout=timeout_us,
        # The gate reads a few bytes per image, and `as_numpy` fails on a tensor in GPU memory.
        preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU, 0),
    )
    response = call.exec()
    if response.has_error():
        message = response.error().message()
        raise StageFailed(quoted(message, _LONGEST_ERROR), blames_stage=not _CLAIMED_BATCH.search(message))
    answers = {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors()}
    for name, array in answers.items():
        if len(array) != len(images):
            raise StageFailed(f"output '{name}' has {len(array)} rows for {len(images)} images")
    return answers


def _response(response: Response) -> Any:
    """Triton's object for a response."""
    if isinstance(response, GateError):
        code = getattr(pb_utils.TritonError, response.code)
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(response.message, code))
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in response.items()])
