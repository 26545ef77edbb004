"""Measures stage curves on a running server.

The models alone, then both stages kept busy: what the device does when everything on it is busy, and for which stage.
All of that happens in several turns, because a machine with neighbours may be a quarter slower from one half minute to
the next.
"""

from __future__ import annotations

import datetime
import math
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import tritonclient.grpc

from littlebig_benchmarks.errors import ScenarioError
from littlebig_benchmarks.machine import describe
from littlebig_benchmarks.planning.asking import IdleServer, transport, when_busy
from littlebig_benchmarks.planning.contention import Busy, weight_of_big, work_of_clients, work_when_busy
from littlebig_benchmarks.planning.curves import BATCHES, STAGES, Curve, Device, GateCurve, StageCurve, StageCurves
from littlebig_benchmarks.serving import Served

# Of everything a part in each turn: of each size at least so many batches, at most so many.
_TURNS, _LEAST, _MOST = 3, 2, 14
# Images per request to a busy stage whose batcher prefers no size.
_TOGETHER = 8
_DEFAULT_IN_FLIGHT = "4"
_KIND_GPU = 1


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
        on_the_way = transport(served, client)
    stages = {name: _stage(configs[name], _curve(times[name])) for name in STAGES}
    work = work_when_busy(busy, stages)
    capacity = sum(work.values())
    if kind == "cpu":
        # A core does no more than one thread's work. More is found now and then, 2.1 to 2.3 on two cores, presumably
        # because a part of the client's time on the way is waiting; no instance would ever slow another down then.
        capacity = min(capacity + work_of_clients(work, stages, together, on_the_way), cores)
    gate = configs["little_big"]
    parameter = gate.parameters["max_batches_in_flight"].string_value or _DEFAULT_IN_FLIGHT
    return StageCurves(
        pair,
        Device(kind, device_name, capacity),
        stages["little"],
        replace(stages["big"], weight=weight_of_big(work, stages)),
        GateCurve(_curve(times["little_big"]), _instances(gate), gate.max_batch_size, int(parameter)),
        on_the_way,
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
) -> tuple[dict[str, dict[int, list[float]]], list[Busy]]:
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
    asked = IdleServer(client, served.shape)
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
        busy.append(when_busy(served, together, {name: 2 * _instances(configs[name]) for name in STAGES}))
    return times, busy


def images_per_request(config: Any) -> int:
    """To a busy device: what one batch of the stage holds when more than enough is waiting.

    Args:
        config: the stage's, as Triton's protocol has it.
    """
    return min(_preferred(config) or _TOGETHER, int(config.max_batch_size), BATCHES[-1])


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
