"""Asks a running server, and reads in Triton's own statistics what it took; works on any target.

A request of n images to an idle server is one batch of n, and Triton counts how long it computed. The models are asked
in turns: in a cascade no stage finds the caches as it left them.
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

from littlebig_benchmarks import load
from littlebig_benchmarks.errors import RunFailed
from littlebig_benchmarks.images import for_stages_that_do_nothing, mix
from littlebig_benchmarks.planning.contention import Busy
from littlebig_benchmarks.planning.curves import STAGES
from littlebig_benchmarks.serving import Served

# Lone batches of each stage that tell how fast the device is at the moment.
_AT_THE_MOMENT = 8
# Seconds for all batches of one size, per model; more than the least are asked for only while they last.
_SECONDS = 0.7
_PATIENCE = 60.0
# Seconds in which Triton has counted what it has answered, by far; somebody else's requests go on.
_LATE = 2.0
# Seconds before and while the busy device is measured, and of the way to the server.
_WARM_UP, _BUSY, _TRANSPORT = 1.0, 2.0, 2.0
# Images to choose from on the way to the server.
_PICTURES = 8


@dataclass(frozen=True)
class Counted:
    """A model's statistics.

    Attributes:
        images: inferences.
        batches: images per batch -> (how many, nanoseconds of input, computation and output).
        request_ns: from receiving requests to answering them, added up.
    """

    images: int
    batches: Mapping[int, tuple[int, int]]
    request_ns: int


def read(client: Any, model: str) -> Counted:
    """A model's statistics now."""
    (found,) = client.get_inference_statistics(model).model_stats
    batches = {
        int(one.batch_size): (
            int(one.compute_infer.count),
            int(one.compute_input.ns + one.compute_infer.ns + one.compute_output.ns),
        )
        for one in found.batch_stats
    }
    return Counted(int(found.inference_count), batches, int(found.inference_stats.success.ns))


def difference(before: Counted, after: Counted) -> Counted:
    """What came on top."""
    batches = {}
    for size, (count, spent) in after.batches.items():
        old_count, old_spent = before.batches.get(size, (0, 0))
        if count > old_count:
            batches[size] = (count - old_count, spent - old_spent)
    return Counted(after.images - before.images, batches, after.request_ns - before.request_ns)


def images(shape: Sequence[int], size: int) -> tritonclient.grpc.InferInput:
    """A request's images; what is in them makes no difference to how long a stage computes."""
    tensor = tritonclient.grpc.InferInput("image", [size, *shape], "UINT8")
    tensor.set_data_from_numpy(np.random.default_rng(size).integers(0, 256, (size, *shape), np.uint8))
    return tensor


def infer(client: Any, model: str, tensor: tritonclient.grpc.InferInput, parameters: dict[str, str] | None) -> None:
    """Ask a model for labels.

    Raises:
        RunFailed: if it does not answer.
    """
    wanted = [tritonclient.grpc.InferRequestedOutput("label")]
    try:
        client.infer(model, [tensor], outputs=wanted, parameters=parameters, client_timeout=_PATIENCE)
    except InferenceServerException as reason:
        raise RunFailed(f"'{model}' failed while it was measured: {reason.message()}") from None


@dataclass(frozen=True)
class IdleServer:
    """A server that nobody else uses: asks one request after another, and reads what it counted for each.

    Attributes:
        client: of it.
        shape: of an image.
    """

    client: tritonclient.grpc.InferenceServerClient
    shape: Sequence[int]

    def warm_up(self, models: Mapping[str, int], size: int) -> None:
        """Let each instance initialise itself for a size: Triton asks them in turns.

        Args:
            models: name -> instances.
            size: images per batch.
        """
        tensor = images(self.shape, size)
        for model, instances in models.items():
            for _ in range(instances):
                self._ask(model, tensor, size)

    def in_turns(self, models: Sequence[str], size: int, least: int, most: int) -> dict[str, list[float]]:
        """Seconds of each model's own work, per batch.

        Args:
            models: their names.
            size: images per batch.
            least: batches of each at least, however long they take.
            most: and at most.
        """
        tensor = images(self.shape, size)
        self._let_it_count(models)
        began, turns = time.perf_counter(), 0
        taken: dict[str, list[float]] = {model: [] for model in models}
        while turns < least or (turns < most and time.perf_counter() - began < _SECONDS * len(models)):
            for model, seconds in taken.items():
                seconds.append(self._ask(model, tensor, size))
            turns += 1
        return taken

    def _let_it_count(self, models: Sequence[str]) -> None:
        """Triton counts a request a little after it has answered: what came before must not be taken for ours."""
        found: list[Counted] = []
        deadline = time.monotonic() + _LATE
        while time.monotonic() < deadline:
            before, found = found, [read(self.client, model) for model in models]
            if found == before:
                return
            time.sleep(_LATE / 100)

    def _ask(self, model: str, tensor: tritonclient.grpc.InferInput, size: int) -> float:
        models = (model, "little") if model == "little_big" else (model,)
        before = [read(self.client, name) for name in models]
        infer(self.client, model, tensor, {"policy": "little"} if model == "little_big" else None)
        counted = [_counted(self.client, name, old, size) for name, old in zip(models, before, strict=True)]
        own = counted[0].batches[size][1] - (counted[1].request_ns if len(counted) > 1 else 0)
        return max(own, 0) / 1e9


def _counted(client: Any, model: str, before: Counted, size: int, requests: int = 1) -> Counted:
    """What requests of a size added; Triton counts them a little after it has answered.

    Raises:
        RunFailed: if others have come in between.
    """
    sent, deadline = size * requests, time.monotonic() + _PATIENCE
    while True:
        found = difference(before, read(client, model))
        if found.images == sent and found.batches.get(size, (0, 0))[0] == requests:
            return found
        if found.images > sent or time.monotonic() > deadline:
            raise RunFailed(
                f"'{model}' counted {found.images} images where {sent} were sent: somebody else uses this server, "
                "measure one that nobody does"
            )
        time.sleep(0.001)


def lone(served: Served) -> dict[str, float]:
    """Mean seconds of a stage's batch of one image, at the moment and on an idle server: stage -> seconds.

    Raises:
        RunFailed: if a stage fails, or somebody else uses the server.
    """
    with tritonclient.grpc.InferenceServerClient(served.url) as client:
        found = IdleServer(client, served.shape).in_turns(STAGES, 1, _AT_THE_MOMENT, _AT_THE_MOMENT)
    return {name: float(np.mean(taken)) for name, taken in found.items()}


def when_busy(served: Served, together: Mapping[str, int], senders: Mapping[str, int]) -> Busy:
    """Keep all instances of both stages busy for some seconds.

    Args:
        served: the server.
        together: images per request to a stage.
        senders: of requests to a stage, two for each of its instances: the next batch is there when one is done.
    """
    ended = threading.Event()
    failures: list[Exception] = []

    def send(model: str) -> None:
        try:
            with tritonclient.grpc.InferenceServerClient(served.url) as client:
                tensor = images(served.shape, together[model])
                while not ended.is_set():
                    infer(client, model, tensor, None)
        except Exception as reason:  # told by the thread that waits
            failures.append(reason)

    threads = [threading.Thread(target=send, args=(name,)) for name, count in senders.items() for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        with tritonclient.grpc.InferenceServerClient(served.url) as client:
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
    done = {name: difference(before[name], after[name]).batches for name in senders}
    return Busy(seconds, {name: {size: count for size, (count, _) in one.items()} for name, one in done.items()})


def transport(served: Served, client: tritonclient.grpc.InferenceServerClient) -> float:
    """Mean seconds that a request of one image needs besides the server's own, with the client of `load`.

    Args:
        served: the server.
        client: of it.

    Raises:
        RunFailed: if somebody else uses the server.
    """
    pictures = for_stages_that_do_nothing(_PICTURES, 0.5, served.shape, 0)
    before = read(client, "little")
    asked = load.Load("little", _TRANSPORT, clients=1)
    answers = load.run(served.url, asked, pictures, mix(pictures, 0.5, 1, 0))
    counted = _counted(client, "little", before, 1, answers.images)
    seconds = float(np.mean([reply.ms for reply in answers.replies])) / 1e3
    return max(seconds - counted.request_ns / counted.images / 1e9, 0.0)
