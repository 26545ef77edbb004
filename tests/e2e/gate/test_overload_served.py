"""More unsure images than big can answer, with a latency target and without one."""

import queue
import threading
import time

import numpy as np
from littlebig_settings import MOST_IN_FLIGHT
from tests.e2e.gate.puppets import DEADLINE, UNSURE, until

DOUBTFUL, SECONDS_PER_IMAGE, TARGET_MS = 100, 0.02, 400  # confidence 0.39, unsure at 0.5; big answers 50 images/s


def offer(running, rate, seconds, pixels):
    """Send requests at a steady rate whatever becomes of them; returns (stage or None, milliseconds) of each."""
    told, pause = queue.Queue(), threading.Event()
    began, count = time.perf_counter(), round(rate * seconds)
    for number in range(count):
        pause.wait(max(0.0, began + number / rate - time.perf_counter()))
        sent = time.perf_counter()

        def note(result, error, sent=sent):
            stage = None if error else int(result.as_numpy("stage")[0, 0])
            told.put((stage, (time.perf_counter() - sent) * 1e3))

        running.send(pixels[number % len(pixels)], told=note)
    return [told.get(timeout=DEADLINE) for _ in range(count)]


def effective(running):
    return running.metric("littlebig_threshold", kind="effective")


def test_with_a_target_the_surest_of_the_unsure_are_spared_and_everybody_is_answered(puppets):
    settings = {"latency_target_ms": TARGET_MS, "threshold_floor": 0.1, "max_batches_in_flight": MOST_IN_FLIGHT}
    with puppets(threshold=0.5, **settings) as running:
        running.tell("big", seconds=SECONDS_PER_IMAGE)
        told = offer(running, rate=100, seconds=8, pixels=[DOUBTFUL])
        stages, milliseconds = (np.array(column) for column in zip(*told, strict=True))
        assert set(stages) == {1, 3}, "somebody was not answered, or big was not used"
        until(lambda: running.metric("littlebig_images_total", reason="overload") == (stages == 3).sum(), "counted")
        print(f"p99 {np.percentile(milliseconds, 99):.0f} ms of {TARGET_MS}, spared {np.mean(stages == 3):.0%}")
        until(lambda: effective(running) == 0.5, "back to normal")
        assert running.ask(DOUBTFUL) == [(1, 2)]


def test_below_the_floor_nobody_is_spared(puppets):
    settings = {"latency_target_ms": 50, "threshold_floor": 0.3, "max_batches_in_flight": MOST_IN_FLIGHT}
    with puppets(threshold=0.5, **settings) as running:
        running.tell("big", seconds=SECONDS_PER_IMAGE)
        told = offer(running, rate=100, seconds=2, pixels=[UNSURE, DOUBTFUL])
        assert {stage for stage, _ in told} <= {1, 3}
        until(lambda: running.metric("littlebig_images_total") == 200, "counted")
        assert running.metric("littlebig_images_total", reason="unsure") >= 100  # every UNSURE one, score 0


def test_without_a_target_nobody_is_spared(puppets):
    with puppets(threshold=0.5) as running:
        running.tell("big", seconds=SECONDS_PER_IMAGE)
        told = offer(running, rate=100, seconds=2, pixels=[DOUBTFUL])
        assert {stage for stage, _ in told} == {1}
        assert effective(running) == 0.5
