"""The real gate between two stages that do as they are told, in a tritonserver that a test may break."""

import json
import os
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


def noted(answers, name):
    """What `Puppets.send` is told: puts (name, error) among the answers."""
    return lambda result, error: answers.put((name, error))


def next_of(answers):
    """The next (name, error) that comes."""
    return answers.get(timeout=DEADLINE)


class Puppets:
    """A running server with the gate and its two puppets."""

    def __init__(self, folder, server, triton):
        self.folder, self.server, self.triton = folder, server, triton

    def tell(self, stage, **behaviour):
        """How a stage behaves from its next batch on."""
        file = self.folder / stage / "1" / "behaviour.json"
        file.with_suffix(".new").write_text(json.dumps(behaviour))
        file.with_suffix(".new").rename(file)

    set_behaviour = tell

    def request(self, *pixels):
        images = np.zeros((len(pixels), 32, 32, 3), np.uint8)
        images[:, 0, 0, 0] = pixels
        tensor = grpc.InferInput("image", list(images.shape), "UINT8")
        tensor.set_data_from_numpy(images)
        return [tensor]

    def ask(self, *pixels, **options):
        """Stage and label of each image."""
        result = self.triton.infer("little_big", self.request(*pixels), outputs=OUTPUTS, **options)
        return list(
            zip(result.as_numpy("stage").ravel().tolist(), result.as_numpy("label").ravel().tolist(), strict=True)
        )

    def send(self, *pixels, told=None, on_response=None, **options):
        """Ask without waiting; `told(result, error)` is called on another thread."""
        return self.triton.async_infer(
            "little_big", self.request(*pixels), told or on_response, outputs=OUTPUTS, **options
        )

    def series(self, names):
        """(name, its labels as pairs) -> value, of the series with these names on Triton's endpoint now."""
        with urllib.request.urlopen(self.server.metrics_url, timeout=10) as answer:  # noqa: S310 - http, by the server
            text = answer.read().decode()
        found = re.findall(r"^(\w+)\{(.*?)\} (\S+)$", text, re.MULTILINE)
        return {(name, tuple(re.findall(r'(\w+)="(.*?)"', of))): float(v) for name, of, v in found if name in names}

    def metric(self, name, **labels):
        """Sum of the series with these labels."""
        return sum(v for (_, of), v in self.series([name]).items() if labels.items() <= dict(of).items())

    def pending(self, model):
        """How many requests Triton holds for a model that has not taken them yet."""
        return self.metric("nv_inference_pending_request_count", model=model)

    def executions(self, model):
        """How many batches a model has been given."""
        return int(self.triton.get_inference_statistics(model).model_stats[0].execution_count)

    def stub(self, model):
        """Process ids of a model's stubs."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().decode().split("\0")
            except OSError:
                continue
            if "triton_python_backend_stub" in command[0] and str(self.folder / model / "1") in command[1]:
                found.append(int(process.name))
        return found

    def signal(self, model, number):
        for process in self.stub(model):
            os.kill(process, number)
