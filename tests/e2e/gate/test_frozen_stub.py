"""A model's process that is frozen and continued never answers a caller with another caller's answer.

Every image has an answer of its own, and every answer is compared. Without the watchdog (littlebig_watchdog.py), Triton
24.10 gives a caller another's answer in about every second run, and its server ends in each.
"""

import contextlib
import os
import random
import shutil
import signal
import threading

import numpy as np
import pytest
from tests.e2e.gate.puppets import DEADLINE, Puppets, until
from tritonclient import grpc
from tritonclient.utils import InferenceServerException

from littlebig_server import ServerSettings, TritonServer

CALLERS, IMAGES = 8, 32
RANDOM = np.random.default_rng(0)
# Of little contrast, so that no class has all the probability, and in blocks that survive the resizing of preprocess.
BLOCKS = RANDOM.integers(96, 160, (IMAGES, 4, 4, 3), np.uint8).repeat(10, axis=1).repeat(10, axis=2)
CANONICAL = BLOCKS[:, np.newaxis, 4:36, 4:36]
OUTPUTS = [grpc.InferRequestedOutput(name) for name in ("label", "probabilities")]


def bitmap(pixels):
    """The pixels as a BMP file."""
    height, width, _ = pixels.shape
    rows = pixels[::-1, :, ::-1].tobytes()
    size = (54 + len(rows)).to_bytes(4, "little")
    sides = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    return b"BM" + size + bytes(4) + b"\x36\0\0\0\x28\0\0\0" + sides + b"\1\0\x18\0" + bytes(24) + rows


class Callers:
    """Callers that each ask for one image after another, and compare each answer with the right one."""

    def __init__(self, url, through):
        self.url, self.through = url, through
        self.right, self.wrong, self.errors = 0, [], 0
        self.stop, self.lock = threading.Event(), threading.Lock()
        with grpc.InferenceServerClient(url) as triton:
            self.expected = [self.ask(triton, image) for image in range(IMAGES)]
        assert len(set(self.expected)) == IMAGES
        self.threads = [threading.Thread(target=self.call, args=[seed]) for seed in range(CALLERS)]

    def ask(self, triton, image):
        if self.through == "classify":
            tensor = grpc.InferInput("encoded_image", [1, 1], "BYTES")
            tensor.set_data_from_numpy(np.array([[bitmap(BLOCKS[image])]], object))
        else:
            tensor = grpc.InferInput("image", [1, 32, 32, 3], "UINT8")
            tensor.set_data_from_numpy(CANONICAL[image])
        # A request that waits in a dead process gets no answer.
        options = {"parameters": {"threshold": float(image % 2)}, "client_timeout": 3}  # every other image goes to big
        answer = triton.infer(self.through, [tensor], outputs=OUTPUTS, **options)
        return tuple(answer.as_numpy("probabilities").ravel().round(5).tolist())

    def call(self, seed):
        chooser = random.Random(seed)  # noqa: S311 - a choice, not a secret
        with grpc.InferenceServerClient(self.url) as triton:
            while not self.stop.is_set():
                image = chooser.randrange(IMAGES)
                try:
                    answer = self.ask(triton, image)
                except InferenceServerException:
                    with self.lock:
                        self.errors += 1
                    self.stop.wait(0.02)
                    continue
                with self.lock:
                    if answer == self.expected[image]:
                        self.right += 1
                    else:
                        self.wrong.append((image, answer))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(DEADLINE)


def freeze_one(repository, folder, model, seconds):
    """Freeze a process of a model under load and continue it; returns the callers and whether the server lives."""
    shutil.copytree(repository, folder)
    # Killed at the end: a model with a dead process is unloaded slowly.
    with (
        TritonServer(folder, ServerSettings(exit_timeout=0)) as server,
        grpc.InferenceServerClient(server.grpc_url) as triton,
        Callers(server.grpc_url, "classify" if model == "preprocess" else "little_big") as callers,
    ):
        until(lambda: callers.right > 50, "load")
        process = Puppets(folder, server, triton).stub(model)[0]
        os.kill(process, signal.SIGSTOP)
        callers.stop.wait(seconds)
        with contextlib.suppress(ProcessLookupError):  # the watchdog killed it, and the server took note of it
            os.kill(process, signal.SIGCONT)
        right = callers.right
        # An answer that is one behind shows at the next request, of which there are many in this time.
        callers.stop.wait(1.0)
        until(lambda: callers.right > right + 20, "answers of the other processes")
        return callers, triton.is_server_live()


def test_no_caller_gets_anothers_answer_after_a_gate_was_frozen(tiny_repository, tmp_path):
    callers, is_live = freeze_one(tiny_repository, tmp_path / "models", "little_big", 1.8)
    assert callers.wrong == []
    assert is_live


@pytest.mark.slow
@pytest.mark.parametrize("model", ["little_big", "preprocess", "little", "big"])
def test_no_caller_gets_anothers_answer_however_long_a_process_was_frozen(tiny_repository, tmp_path, model):
    for run in range(6):
        callers, is_live = freeze_one(tiny_repository, tmp_path / f"models{run}", model, 0.4 + 0.5 * run)
        assert callers.wrong == []
        assert is_live
