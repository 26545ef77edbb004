"""Sends requests to a running server and reads from Triton's statistics how long it computed; works on any target.

A request of n images to an idle server is one batch of n images, and Triton counts how long it computed. The models
take turns, because in a cascade no stage finds the processor's caches as it left them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from littlebig_benchmarks.errors import RunFailed
from littlebig_benchmarks.planning.contention import Busy
from littlebig_benchmarks.serving import Served

# Seconds for all batches of one size, per model; beyond `least` batches, more are sent only within this time.
_SECONDS = 0.7
_MAX_WAIT_S = 60.0
# Triton counts a request a little after its response. It has caught up well within this many seconds.
_COUNTED_WITHIN_S = 2.0
# Seconds before and during the measurement of the busy device.
_WARM_UP, _BUSY = 1.0, 2.0


@dataclass(frozen=True)
class Counted:
    """A model's statistics.

    Attributes:
        images: inferences.
        batches: images per batch -> (number of batches, nanoseconds of input, computation and output).
        request_ns: from receiving requests to answering them, summed.
    """

    images: int
    batches: Mapping[int, tuple[int, int]]
    request_ns: int


def read(client: Any, model: str) -> Counted:
    """A model's statistics now."""
    (statistics,) = client.get_inference_statistics(model).model_stats
    batches = {
        int(batch.batch_size): (
            int(batch.compute_infer.count),
            int(batch.compute_input.ns + batch.compute_infer.ns + batch.compute_output.ns),
        )
        for batch in statistics.batch_stats
    }
    return Counted(int(statistics.inference_count), batches, int(statistics.inference_stats.success.ns))


def difference(before: Counted, after: Counted) -> Counted:
    """What was counted between two readings."""
    batches = {}
    for size, (count, nanoseconds) in after.batches.items():
        old_count, old_nanoseconds = before.batches.get(size, (0, 0))
        if count > old_count:
            batches[size] = (count - old_count, nanoseconds - old_nanoseconds)
    return Counted(after.images - before.images, batches, after.request_ns - before.request_ns)


def random_images(shape: Sequence[int], size: int) -> tritonclient.grpc.InferInput:
    """The input of one request; a stage takes the same time for any content."""
    tensor = tritonclient.grpc.InferInput("image", [size, *shape], "UINT8")
    tensor.set_data_from_numpy(np.random.default_rng(size).integers(0, 256, (size, *shape), np.uint8))
    return tensor


def infer(client: Any, model: str, tensor: tritonclient.grpc.InferInput, parameters: dict[str, str] | None) -> None:
    """Ask a model for labels.

    Raises:
        RunFailed: if the model answers with an error.
    """
    outputs = [tritonclient.grpc.InferRequestedOutput("label")]
    try:
        client.infer(model, [tensor], outputs=outputs, parameters=parameters, client_timeout=_MAX_WAIT_S)
    except InferenceServerException as reason:
        raise RunFailed(f"'{model}' failed while it was measured: {reason.message()}") from None


@dataclass(frozen=True)
class IdleServer:
    """A server without other users: each request is one batch, and its counters are read after each.

    Attributes:
        client: of the server.
        shape: of an image.
    """

    client: tritonclient.grpc.InferenceServerClient
    shape: Sequence[int]

    def warm_up(self, models: Mapping[str, int], size: int) -> None:
        """Let each instance initialise itself for a size: Triton lets instances take turns.

        Args:
            models: name -> number of instances.
            size: images per batch.
        """
        tensor = random_images(self.shape, size)
        for model, instances in models.items():
            for _ in range(instances):
                self._measure(model, tensor, size)

    def in_turns(self, models: Sequence[str], size: int, least: int, most: int) -> dict[str, list[float]]:
        """Seconds of each model's own work, per batch.

        Args:
            models: their names.
            size: images per batch.
            least: fewest batches of each model, however long they take.
            most: most batches of each model.
        """
        tensor = random_images(self.shape, size)
        self._wait_until_counted(models)
        began, turns = time.perf_counter(), 0
        seconds: dict[str, list[float]] = {model: [] for model in models}
        while turns < least or (turns < most and time.perf_counter() - began < _SECONDS * len(models)):
            for model, values in seconds.items():
                values.append(self._measure(model, tensor, size))
            turns += 1
        return seconds

    def _wait_until_counted(self, models: Sequence[str]) -> None:
        """Wait until the counters stand still, so that earlier requests are not taken for ours."""
        counted: list[Counted] = []
        deadline = time.monotonic() + _COUNTED_WITHIN_S
        while time.monotonic() < deadline:
            before, counted = counted, [read(self.client, model) for model in models]
            if counted == before:
                return
            time.sleep(_COUNTED_WITHIN_S / 100)

    def _measure(self, model: str, tensor: tritonclient.grpc.InferInput, size: int) -> float:
        """Seconds of one batch; the gate's are without little's."""
        models = (model, "little") if model == "little_big" else (model,)
        before = [read(self.client, name) for name in models]
        infer(self.client, model, tensor, {"policy": "little"} if model == "little_big" else None)
        counted = [_counted(self.client, name, old, size) for name, old in zip(models, before, strict=True)]
        own = counted[0].batches[size][1] - (counted[1].request_ns if len(counted) > 1 else 0)
        return max(own, 0) / 1e9


def _counted(client: Any, model: str, before: Counted, size: int) -> Counted:
    """What one request of `size` images added to a model's counters.

    Raises:
        RunFailed: if the server has counted other requests meanwhile.
    """
    deadline = time.monotonic() + _MAX_WAIT_S
    while True:
        counted = difference(before, read(client, model))
        if counted.images == size and counted.batches.get(size, (0, 0))[0] == 1:
            return counted
        if counted.images > size or time.monotonic() > deadline:
            raise RunFailed(
                f"'{model}' counted {counted.images} images where {size} were sent: the server has other users; "
                "measure one that has none"
            )
        time.sleep(0.001)


def when_busy(served: Served, images_per_request: Mapping[str, int], senders: Mapping[str, int]) -> Busy:
    """Keep all instances of both stages busy for some seconds.

    Args:
        served: the server.
        images_per_request: to each stage.
        senders: concurrency of each stage: two requests per instance, so that the next batch is ready when one is done.

    Raises:
        RunFailed: if a stage answers with an error.
    """
    ended = threading.Event()
    failures: list[Exception] = []

    def send(model: str) -> None:
        try:
            with served.endpoint.open() as client:
                tensor = random_images(served.shape, images_per_request[model])
                while not ended.is_set():
                    infer(client, model, tensor, None)
        except Exception as reason:  # raised again by the thread that waits
            failures.append(reason)

    threads = [threading.Thread(target=send, args=(name,)) for name, count in senders.items() for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        with served.endpoint.open() as client:
            ended.wait(_WARM_UP)
            before, began = {name: read(client, name) for name in senders}, time.perf_counter()
            ended.wait(_BUSY)
            after, seconds = {name: read(client, name) for name in senders}, time.perf_counter() - began
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]
    counted = {name: difference(before[name], after[name]).batches for name in senders}
    return Busy(
        seconds, {name: {size: count for size, (count, _) in batches.items()} for name, batches in counted.items()}
    )
