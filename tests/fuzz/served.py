"""Sends hostile and mutated pictures to a server while honest neighbours compare each of their answers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from tests.fuzz.corpus import hostile, seeds
from tests.fuzz.hostile import encoded, gradient
from tests.fuzz.mutating import mutated

_ALLOWED = ("StatusCode.INVALID_ARGUMENT", "StatusCode.UNAVAILABLE")
_HONEST, _ATTACKERS, _TIMEOUT = 3, 2, 120.0


@dataclass
class Traffic:
    """What was answered.

    Attributes:
        honest: latencies of the honest requests, in seconds.
        sent: hostile and mutated pictures.
        errors: status and number of the attackers' answers.
        faults: what must not happen.
    """

    honest: list[float] = field(default_factory=list)
    sent: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def p99(self):
        """The honest requests' 99th percentile, in seconds."""
        return float(np.percentile(self.honest, 99))


def ask(url_or_client, pictures, model="preprocess", output="image"):
    """The named output for a request of pictures."""
    client = url_or_client
    if isinstance(client, str):
        client = tritonclient.grpc.InferenceServerClient(client)
    tensor = tritonclient.grpc.InferInput("encoded_image", [len(pictures), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[content] for content in pictures], object))
    wanted = [tritonclient.grpc.InferRequestedOutput(output)]
    return client.infer(model, [tensor], outputs=wanted, client_timeout=_TIMEOUT).as_numpy(output)


def honest_pictures():
    """Pictures as callers send them."""
    return [
        encoded(gradient(640, 480), "JPEG", quality=90),
        encoded(gradient(300, 400), "PNG"),
        encoded(gradient(1600, 1200), "JPEG", quality=85),
    ]


def attack(url, seed, seconds, pictures=None):
    """Honest traffic with attackers beside it.

    Args:
        url: the server's gRPC endpoint.
        seed: of the mutations.
        seconds: how long.
        pictures: what the attackers send in turn; all hostile ones and mutations by default, nothing if empty.
    """
    traffic, stop, lock = Traffic(), time.monotonic() + seconds, threading.Lock()
    honest = honest_pictures()
    expected = [ask(url, [content]) for content in honest]
    originals = seeds()
    bad = list((hostile() if pictures is None else pictures).values())

    def behave(number):
        client = tritonclient.grpc.InferenceServerClient(url)
        turn = number
        while time.monotonic() < stop:
            turn = (turn + 1) % len(honest)
            started, fault = time.monotonic(), None
            try:
                if not (ask(client, [honest[turn]]) == expected[turn]).all():
                    fault = "an honest request got another image"
            except InferenceServerException as reason:
                fault = f"an honest request failed: {reason}"
            with lock:
                traffic.honest.append(time.monotonic() - started)
                traffic.faults += [fault] if fault else []

    def misbehave(number):
        client, random = tritonclient.grpc.InferenceServerClient(url), np.random.default_rng([seed, number])
        names, others, turn = list(originals), list(originals.values()), number
        while time.monotonic() < stop:
            turn += 1
            if pictures is not None or not turn % 8:
                content = bad[turn // (1 if pictures is not None else 8) % len(bad)]
            else:
                content = mutated(originals[names[random.integers(len(names))]], random, others)
            status, fault = "answered", None
            try:
                ask(client, [content], "classify", "label")
            except InferenceServerException as reason:
                status, text = reason.status(), reason.message() or ""
                if status not in _ALLOWED or "/" in text or "Traceback" in text:
                    fault = f"a bad picture was answered by {status} {text[:200]!r}"
            with lock:
                traffic.sent += 1
                traffic.errors[status] += 1
                traffic.faults += [fault] if fault else []

    threads = [threading.Thread(target=behave, args=(number,)) for number in range(_HONEST)]
    if bad:
        threads += [threading.Thread(target=misbehave, args=(number,)) for number in range(_ATTACKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return traffic
