"""Measures stage curves on a running server, from the server's own statistics; works on any target.

A request of n images to an idle server is one batch of n, and Triton counts how long it computed. The models are asked
in turns: in a cascade no stage finds the caches as it left them. What the device does when everything on it is busy,
and for which stage, is measured too: both are kept busy for some seconds. All of that happens in several turns, because
a machine with neighbours may be a quarter slower from one half minute to the next.
"""

from __future__ import annotations

import datetime
import math
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from littlebig_benchmarks import load
from littlebig_benchmarks.errors import RunFailed, ScenarioError
from littlebig_benchmarks.images import for_stages_that_do_nothing, mix
from littlebig_benchmarks.machine import describe
from littlebig_benchmarks.planning.curves import BATCHES, Curve, Device, GateCurve, StageCurve, StageCurves
from littlebig_benchmarks.serving import Served

STAGES = ("little", "big")
# Of everything a part in each turn: of each size at least so many batches, at most so many, and then no more than this
# time for one model's of one size.
_TURNS = 3
_LEAST, _MOST, _SECONDS = 2, 14, 0.7
# Lone batches of each stage that tell how fast the device is at the moment.
_AT_THE_MOMENT = 8
_PATIENCE = 60.0
# Seconds in which Triton has counted what it has answered, by far; somebody else's requests go on.
_LATE = 2.0
_TRANSPORT_SECONDS = 2.0
# Images per request where the batcher prefers no size, and seconds before and while the busy device is measured.
_TOGETHER, _WARM_UP, _BUSY = 8, 1.0, 2.0
_DEFAULT_IN_FLIGHT = "4"
_KIND_GPU = 1


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


def measure(served: Served, pair: str, device_name: str | None, tell: Callable[[str], None]) -> StageCurves:
    """Measure a pair's stages and gate as they are served.

    Args:
        served: the server; nobody else may use it meanwhile.
        pair: its name.
        device_name: what the stages run on; None if it is this machine.
        tell: says what happens.

    Raises:
        RunFailed: if a model fails, or somebody else uses the server.
        ScenarioError: if this machine's GPU has no single name.
    """
    with tritonclient.grpc.InferenceServerClient(served.url) as client:
        configs = {model: client.get_model_config(model).config for model in (*STAGES, "little_big")}
        kind = "gpu" if configs["little"].instance_group[0].kind == _KIND_GPU else "cpu"
        cores = len(os.sched_getaffinity(0)) if device_name is None else math.inf
        device_name = device_name or _this_device(kind)
        together = {name: images_per_request(configs[name]) for name in STAGES}
        times, busy = _measure_in_turns(served, client, configs, together, tell)
        tell("measure the way to the server")
        transport = _transport(served, client)
    stages = {name: _stage(configs[name], _curve(times[name])) for name in STAGES}
    work = _work_when_busy(busy, stages)
    capacity = sum(work.values())
    if kind == "cpu":
        # A core does no more than one thread's work. More is found now and then, 2.1 to 2.3 on two cores, presumably
        # because a part of the client's time on the way is waiting; no instance would ever slow another down then.
        capacity = min(capacity + work_of_clients(work, stages, together, transport), cores)
    gate = configs["little_big"]
    parameter = gate.parameters["max_batches_in_flight"].string_value or _DEFAULT_IN_FLIGHT
    return StageCurves(
        pair,
        Device(kind, device_name, capacity),
        stages["little"],
        replace(stages["big"], weight=weight_of_big(work, stages)),
        GateCurve(_curve(times["little_big"]), _instances(gate), gate.max_batch_size, int(parameter)),
        transport,
        {
            **{name: value for name, value in describe(served.version, "").items() if value},
            "measured": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes"),
        },
    )


def _measure_in_turns(
    served: Served,
    client: tritonclient.grpc.InferenceServerClient,
    configs: Mapping[str, Any],
    together: Mapping[str, int],
    tell: Callable[[str], None],
) -> tuple[dict[str, dict[int, list[float]]], list[_Busy]]:
    """All models alone and both stages together, again and again.

    Args:
        served: the server.
        client: of it.
        configs: of the models, by name.
        together: images per request to a stage while both are busy.
        tell: says what happens.

    Returns:
        Model -> images per batch -> seconds of each batch; and what the stages did together, each time.
    """
    asked = _Asked(client, served.shape)
    times: dict[str, dict[int, list[float]]] = {model: {} for model in configs}
    busy = []
    for turn in range(_TURNS):
        for size in BATCHES:
            models = {name: _instances(config) for name, config in configs.items() if size <= config.max_batch_size}
            if not models:
                break
            tell(f"measure batches of {size}, turn {turn + 1} of {_TURNS}")
            if not turn:
                asked.warm_up(models, size)
            for model, taken in asked.in_turns(list(models), size, _LEAST, _MOST).items():
                times[model].setdefault(size, []).extend(taken)
        tell(f"measure both stages at once, turn {turn + 1} of {_TURNS}")
        busy.append(_when_busy(served, together, {name: 2 * _instances(configs[name]) for name in STAGES}))
    return times, busy


def lone(served: Served) -> dict[str, float]:
    """Mean seconds of a stage's batch of one image, at the moment and on an idle server: stage -> seconds.

    Raises:
        RunFailed: if a stage fails, or somebody else uses the server.
    """
    with tritonclient.grpc.InferenceServerClient(served.url) as client:
        found = _Asked(client, served.shape).in_turns(STAGES, 1, _AT_THE_MOMENT, _AT_THE_MOMENT)
    return {name: float(np.mean(taken)) for name, taken in found.items()}


class _Asked:
    """Asks one request after another, and reads what the server counted for each."""

    def __init__(self, client: tritonclient.grpc.InferenceServerClient, shape: Sequence[int]) -> None:
        self._client, self._shape = client, shape

    def warm_up(self, models: Mapping[str, int], size: int) -> None:
        """Let each instance initialise itself for a size: Triton asks them in turns.

        Args:
            models: name -> instances.
            size: images per batch.
        """
        tensor = images(self._shape, size)
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
        tensor = images(self._shape, size)
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
            before, found = found, [read(self._client, model) for model in models]
            if found == before:
                return
            time.sleep(_LATE / 100)

    def _ask(self, model: str, tensor: tritonclient.grpc.InferInput, size: int) -> float:
        models = (model, "little") if model == "little_big" else (model,)
        before = [read(self._client, name) for name in models]
        infer(self._client, model, tensor, {"policy": "little"} if model == "little_big" else None)
        counted = [_counted(self._client, name, old, size) for name, old in zip(models, before, strict=True)]
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


def _curve(times: Mapping[int, Sequence[float]]) -> Curve:
    return Curve({size: tuple(taken) for size, taken in times.items()})


def _stage(config: Any, curve: Curve) -> StageCurve:
    return StageCurve(
        curve,
        _instances(config),
        config.max_batch_size,
        config.dynamic_batching.max_queue_delay_microseconds / 1e6,
        int(config.parameters["threads"].string_value or 1),
        preferred_batch_size=_preferred(config),
    )


def _preferred(config: Any) -> int:
    return int(max(config.dynamic_batching.preferred_batch_size, default=0))


def _this_device(kind: str) -> str:
    """What this machine's stages run on, as the machine calls it.

    Raises:
        ScenarioError: if there are GPUs and no single name for them.
    """
    if kind == "cpu":
        machine = describe("", "")
        return f"{machine['cores']} cores of {machine['processor']}"
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        said = ""
    names = {line.strip() for line in said.splitlines() if line.strip()}
    if len(names) != 1:
        raise ScenarioError(f"nvidia-smi names {len(names)} kinds of GPU: say with --device what the stages run on")
    return names.pop()


def _instances(config: Any) -> int:
    return sum(group.count for group in config.instance_group)


def _transport(served: Served, client: tritonclient.grpc.InferenceServerClient) -> float:
    """Mean seconds that a request of one image needs besides the server's own, with the client of `load`."""
    pictures = for_stages_that_do_nothing(_TOGETHER, 0.5, served.shape, 0)
    before = read(client, "little")
    asked = load.Load("little", _TRANSPORT_SECONDS, clients=1)
    answers = load.run(served.url, asked, pictures, mix(pictures, 0.5, 1, 0))
    counted = _counted(client, "little", before, 1, answers.images)
    seconds = float(np.mean([reply.ms for reply in answers.replies])) / 1e3
    return max(seconds - counted.request_ns / counted.images / 1e9, 0.0)


def images_per_request(config: Any) -> int:
    """To a busy device: what one batch of the stage holds when more than enough is waiting.

    Args:
        config: the stage's, as Triton's protocol has it.
    """
    return min(_preferred(config) or _TOGETHER, int(config.max_batch_size), BATCHES[-1])


@dataclass(frozen=True)
class _Busy:
    """What the stages did while all instances of both were busy.

    Attributes:
        seconds: how long.
        batches: stage -> images per batch -> batches.
    """

    seconds: float
    batches: Mapping[str, Mapping[int, int]]


def _when_busy(served: Served, together: Mapping[str, int], senders: Mapping[str, int]) -> _Busy:
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
    return _Busy(seconds, {name: {size: count for size, (count, _) in one.items()} for name, one in done.items()})


def _work_when_busy(busy: Sequence[_Busy], stages: Mapping[str, StageCurve]) -> dict[str, float]:
    """Work per second of each stage; see `curves.Device`."""
    seconds = sum(one.seconds for one in busy)
    work = {name: work_done([one.batches[name] for one in busy], stage, seconds) for name, stage in stages.items()}
    for name, done in work.items():
        if not done:
            raise RunFailed(
                f"'{name}' finished no batch in {seconds:.0f} s beside the other stage: "
                "serve it with more of the device"
            )
    return work


def work_done(batches: Sequence[Mapping[int, int]], stage: StageCurve, seconds: float) -> float:
    """Work per second of a stage while all instances of both are busy; see `curves.Device`.

    Args:
        batches: images per batch -> batches, of each time that was measured.
        stage: as it is alone.
        seconds: of these times together.
    """
    alone = stage.curve.seconds(stage.curve.largest)
    return sum(count * alone[size] for one in batches for size, count in one.items()) * stage.threads / seconds


def work_of_clients(
    work: Mapping[str, float], stages: Mapping[str, StageCurve], together: Mapping[str, int], transport: float
) -> float:
    """Work per second of clients on the same cores while both stages are busy: some for each request.

    Args:
        work: per second of each stage, as `curves.Device` counts it.
        stages: by name.
        together: images per request to each.
        transport: seconds of the client's cores per request.
    """
    total = 0.0
    for name, stage in stages.items():
        size = together[name]
        total += work[name] / (stage.curve.seconds(size)[size] * stage.threads) * transport
    return total


def weight_of_big(work: Mapping[str, float], stages: Mapping[str, StageCurve]) -> float:
    """Big's weight where little's is 1: what one of its threads got done beside one of little's.

    Measured because niceness does not tell it; docs/planning.md has both figures.

    Args:
        work: per second of each stage while all instances of both are busy.
        stages: by name.
    """
    little, big = (work[name] / (stages[name].instances * stages[name].threads) for name in STAGES)
    return big / little
