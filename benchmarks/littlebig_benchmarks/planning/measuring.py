"""Measures stage curves on a running server: each model alone, then both stages busy at once.

The measurements take turns, three times over, because a machine with neighbours may be a quarter slower from one half
minute to the next.
"""

from __future__ import annotations

import datetime
import math
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tritonclient.grpc

from littlebig_benchmarks.errors import ScenarioError
from littlebig_benchmarks.machine import describe
from littlebig_benchmarks.planning.asking import IdleServer, when_busy
from littlebig_benchmarks.planning.contention import Busy, capacity_when_busy
from littlebig_benchmarks.planning.curves import BATCHES, Curve, Device, GateCurve, StageCurve, StageCurves
from littlebig_benchmarks.serving import Served
from littlebig_contract.stages import STAGES

# Turns, and in each turn the fewest and most batches of each size.
_TURNS, _LEAST, _MOST = 3, 2, 14
# Images per request to a busy stage whose batcher prefers no size.
_IMAGES_PER_REQUEST = 8
_KIND_GPU = 1


def measure(
    served: Served, pair: str, device_name: str | None, report: Callable[[str], None], turns: int = _TURNS
) -> StageCurves:
    """Measure a pair's stages and gate as they are served.

    Args:
        served: the server; it must have no other users meanwhile.
        pair: its name.
        device_name: what the stages run on; None for this machine.
        report: called with one line per step.
        turns: how often each measurement is repeated.

    Raises:
        RunFailed: if a model fails, or the server has other users.
        ScenarioError: if this machine has several kinds of GPU, or none that nvidia-smi can name.
    """
    with served.endpoint.open() as client:
        configs = {model: client.get_model_config(model).config for model in (*STAGES, "little_big")}
        kind = "gpu" if configs["little"].instance_group[0].kind == _KIND_GPU else "cpu"
        cores = len(os.sched_getaffinity(0)) if device_name is None else math.inf
        device_name = device_name or _this_device(kind)
        times, busy = _measure_in_turns(served, client, configs, turns, report)
    stages = {name: _stage(configs[name], _curve(times[name])) for name in STAGES}
    capacity = capacity_when_busy(busy, stages)
    if kind == "cpu":  # a core does no more than one thread's work
        capacity = min(capacity, cores)
    gate = configs["little_big"]
    return StageCurves(
        pair,
        Device(kind, device_name, capacity),
        stages["little"],
        stages["big"],
        GateCurve(_curve(times["little_big"]), _instances(gate), gate.max_batch_size),
        {
            **{name: value for name, value in describe(served.version, None).items() if value},
            "measured": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes"),
        },
    )


def _measure_in_turns(
    served: Served,
    client: tritonclient.grpc.InferenceServerClient,
    configs: Mapping[str, Any],
    turns: int,
    report: Callable[[str], None],
) -> tuple[dict[str, dict[int, list[float]]], list[Busy]]:
    """Every model alone and both stages together, `turns` times.

    Returns:
        Model -> images per batch -> seconds of each batch; and what the stages did together in each turn.
    """
    server = IdleServer(client, served.shape)
    times: dict[str, dict[int, list[float]]] = {model: {} for model in configs}
    busy = []
    for turn in range(turns):
        for size in BATCHES:
            models = {name: _instances(config) for name, config in configs.items() if size <= config.max_batch_size}
            if not models:
                break
            report(f"measure batches of {size}, turn {turn + 1} of {turns}")
            if not turn:
                server.warm_up(models, size)
            for model, seconds in server.in_turns(list(models), size, _LEAST, _MOST).items():
                times[model].setdefault(size, []).extend(seconds)
        report(f"measure both stages at once, turn {turn + 1} of {turns}")
        sizes = {name: images_per_request(configs[name]) for name in STAGES}
        busy.append(when_busy(served, sizes, {name: 2 * _instances(configs[name]) for name in STAGES}))
    return times, busy


def images_per_request(config: Any) -> int:
    """To a busy stage: as many as its dynamic batcher would put into one batch.

    Args:
        config: the stage's, as Triton's protocol has it.
    """
    preferred = max(config.dynamic_batching.preferred_batch_size, default=0)
    return min(int(preferred) or _IMAGES_PER_REQUEST, int(config.max_batch_size), BATCHES[-1])


def _curve(times: Mapping[int, Sequence[float]]) -> Curve:
    return Curve({size: float(np.mean(seconds)) for size, seconds in times.items()})


def _stage(config: Any, curve: Curve) -> StageCurve:
    threads = int(config.parameters["threads"].string_value or 1)
    return StageCurve(curve, _instances(config), config.max_batch_size, threads)


def _this_device(kind: str) -> str:
    """What this machine's stages run on, as the machine reports it.

    Raises:
        ScenarioError: if there are GPUs and no single name for them.
    """
    if kind == "cpu":
        machine = describe("", None)
        return f"{machine['cores']} cores of {machine['processor']}"
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        output = subprocess.run(query, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        output = ""
    names = {line.strip() for line in output.splitlines() if line.strip()}
    if len(names) != 1:
        raise ScenarioError(f"nvidia-smi names {len(names)} kinds of GPU: give the stages' device with --device")
    return names.pop()


def _instances(config: Any) -> int:
    return sum(group.count for group in config.instance_group)
