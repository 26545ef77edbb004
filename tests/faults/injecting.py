"""The faults of the campaign: each does its harm and undoes what would not go away by itself."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import psutil
from PIL import Image

from littlebig_client import Client, ClientError
from tests.faults.serving import INSTANCES, MODELS
from tests.faults.traffic import ManyImages, Traffic
from tests.fuzz.hostile import encoded

# Nobody watches the watcher: while it is frozen, the server must answer as before.
_WATCHER = "serve"


@dataclass(frozen=True)
class Fault:
    """One row of the campaign.

    Attributes:
        name: for the table.
        inject: does the harm to a Service; returns what undoes it afterwards, or None.
        needs_private: whether it needs a /dev/shm of the server's own.
        may_stay: a process that may stay frozen, if every request is answered meanwhile.
        asked_to_exit: whether the command is asked to exit, so that exit code 0 is right.
        traffic: what the clients do meanwhile.
    """

    name: str
    inject: Callable
    needs_private: bool = False
    may_stay: str | None = None
    asked_to_exit: bool = False
    traffic: type = Traffic


def kill(name, instance=0):
    """SIGKILL to a process."""

    def inject(service):
        service.processes()[name][instance].kill()

    return Fault(f"{_title(name, instance)} killed", inject)


def freeze(name, seconds=None, instance=0):
    """SIGSTOP to a process, and SIGCONT after some seconds; without seconds it stays stopped until the row is over."""

    def inject(service):
        process = service.processes()[name][instance]
        process.suspend()
        if seconds is None:
            return lambda: _continue(process)
        time.sleep(seconds)
        _continue(process)
        return None

    title = _title(name, instance)
    if seconds is not None:
        return Fault(f"{title} frozen for {seconds:.1f} s, continued", inject)
    return Fault(f"{title} frozen", inject, may_stay=name if name == _WATCHER else None)


def both(first, second):
    """Two faults at the same time, neither of which has to be undone."""

    def inject(service):
        first.inject(service)
        second.inject(service)

    return Fault(f"{first.name}; {second.name}", inject)


def fill_shared_memory(seconds):
    """Nothing is left in the server's own /dev/shm for some seconds, while pictures arrive that need more of it."""

    def inject(service):
        # Through this descriptor the file system can be reached after the process is gone.
        descriptor = os.open(service.shared_memory / "filler", os.O_CREAT | os.O_WRONLY)
        try:
            for size in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        os.write(descriptor, b"\1" * size)
            _need_memory(service.grpc_url, seconds)
        finally:
            os.ftruncate(descriptor, 0)
            os.close(descriptor)

    return Fault(f"shared memory full for {seconds:g} s", inject, needs_private=True)


def _need_memory(url, seconds):
    """Large pictures, eight at a time, each of which takes megabytes of shared memory; their answers do not matter."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (800, 800, 3), np.uint8))
    picture, over = encoded(noise, "PNG"), time.monotonic() + seconds

    def ask(_):
        with Client(url, retry_for=0, timeout=seconds) as client:
            while time.monotonic() < over:
                with contextlib.suppress(ClientError):
                    client.classify(picture)

    with ThreadPoolExecutor() as pool:
        list(pool.map(ask, range(8)))


def restart():
    """SIGTERM to the command, which the supervisor starts again."""
    return Fault("restarted by SIGTERM", lambda service: service.restart(), asked_to_exit=True)


def under_classify_many(fault):
    """The same fault while one client classifies 1,000 images with `classify_many`."""
    return replace(fault, name=f"{fault.name} under classify_many", traffic=ManyImages)


def every_fault(random):
    """The whole campaign.

    Args:
        random: a NumPy generator; chooses for how long processes are frozen, and which instance.
    """
    processes = [*MODELS, "tritonserver", "keeper", "serve"]
    faults = [kill(model, instance) for model in MODELS for instance in range(INSTANCES)]
    faults += [kill(name) for name in processes[len(MODELS) :]]
    for name in processes:
        instance = int(random.integers(INSTANCES)) if name in MODELS else 0
        faults.append(freeze(name, float(random.uniform(2, 5)), instance))
    for name in processes:
        instance = int(random.integers(INSTANCES)) if name in MODELS else 0
        faults.append(freeze(name, None, instance))
    faults += [fill_shared_memory(3), restart()]
    return [*faults, under_classify_many(restart()), under_classify_many(kill("tritonserver"))]


def _title(name, instance):
    return f"{name}, instance {instance}" if name in MODELS else name


def _continue(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGCONT)
