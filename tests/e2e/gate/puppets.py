"""The real gate between two stages whose behaviour a test sets, in a tritonserver."""

import json
import os
import queue
import re
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from tritonclient import grpc

SURE, UNSURE = 255, 0
DEADLINE = 30
OUTPUTS = [grpc.InferRequestedOutput(name) for name in ("stage", "label")]


def until(condition, what, seconds=DEADLINE):
    """Poll until the condition holds; returns its value."""
    end, pause = time.monotonic() + seconds, threading.Event()
    while time.monotonic() < end:
        if value := condition():
            return value
        pause.wait(0.02)
    pytest.fail(f"{what}: not within {seconds} s")


class Responses:
    """Responses to requests that were sent without waiting, by a name for each."""

    def __init__(self):
        self._arrived = queue.Queue()
        self.stages = {}

    def to(self, name):
        """The callback for a request's response."""

        def arrived(result, error):
            self.stages[name] = None if error else result.as_numpy("stage").ravel().tolist()
            self._arrived.put((name, error))

        return arrived

    def next(self):
        """(name, error) of the response that arrives next."""
        return self._arrived.get(timeout=DEADLINE)

    def empty(self):
        return self._arrived.empty()


class Puppets:
    """A server with a gate and the two stages that it calls.

    Args:
        folder: the model repository.
        server: that serves it.
        triton: a gRPC client of it.
        gate: the gate's model name.
        big_at: Puppets of the server that computes big; None where it is this one.
    """

    def __init__(self, folder, server, triton, gate="little_big", big_at=None):
        self.folder, self.server, self.triton, self.gate = folder, server, triton, gate
        self._big_at = big_at

    def holding(self, model):
        """The Puppets of the server that computes a model."""
        return self._big_at if model == "big" and self._big_at else self

    def set_behaviour(self, stage, **behaviour):
        """How a stage behaves from its next batch on; see puppet_stage.py."""
        file = self.holding(stage).folder / stage / "1" / "behaviour.json"
        file.with_suffix(".new").write_text(json.dumps(behaviour))
        file.with_suffix(".new").rename(file)

    def request(self, *pixels):
        images = np.zeros((len(pixels), 32, 32, 3), np.uint8)
        images[:, 0, 0, 0] = pixels
        tensor = grpc.InferInput("image", list(images.shape), "UINT8")
        tensor.set_data_from_numpy(images)
        return [tensor]

    def ask(self, *pixels, **options):
        """(stage, label) of each image."""
        result = self.triton.infer(self.gate, self.request(*pixels), outputs=OUTPUTS, **options)
        return list(
            zip(result.as_numpy("stage").ravel().tolist(), result.as_numpy("label").ravel().tolist(), strict=True)
        )

    def send(self, *pixels, on_response, **options):
        """Ask without waiting; `on_response(result, error)` is called on another thread."""
        return self.triton.async_infer(self.gate, self.request(*pixels), on_response, outputs=OUTPUTS, **options)

    def series(self, names):
        """(name, its labels as pairs) -> value, of the series with these names on Triton's endpoint now."""
        with urllib.request.urlopen(self.server.metrics_url, timeout=10) as answer:  # noqa: S310 - http, by the server
            text = answer.read().decode()
        rows = re.findall(r"^(\w+)\{(.*?)\} (\S+)$", text, re.MULTILINE)
        return {(name, tuple(re.findall(r'(\w+)="(.*?)"', of))): float(v) for name, of, v in rows if name in names}

    def metric(self, name, **labels):
        """Sum of the series with these labels; of the gate's own metrics those of this gate."""
        if name.startswith("littlebig_"):
            labels["model"] = self.gate
        return sum(v for (_, of), v in self.series([name]).items() if labels.items() <= dict(of).items())

    def pending(self, model):
        """How many requests Triton holds for a model that has not taken them yet."""
        return self.holding(model).metric("nv_inference_pending_request_count", model=model)

    def executions(self, model):
        """How many batches a model has been given."""
        return int(self.holding(model).triton.get_inference_statistics(model).model_stats[0].execution_count)

    def stub(self, model):
        """Process ids of a model's stubs."""
        folder = self.holding(model).folder / model / "1"
        pids = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if "triton_python_backend_stub" in command[0] and str(folder) in command[1]:
                pids.append(int(process.name))
        return pids

    def signal(self, model, number):
        for process in self.stub(model):
            os.kill(process, number)
