"""More unsure images than big can answer, with a latency target and without one."""

import threading
import time

import numpy as np
import pytest
from littlebig_settings import MAX_IN_FLIGHT
from tests.e2e.gate.puppets import UNSURE, Responses, until

DOUBTFUL, SECONDS_PER_IMAGE, TARGET_MS = 100, 0.02, 400  # confidence 0.39, unsure at 0.5; big answers 50 images/s
RATE = 100


def send_steadily(running, seconds, pixels):
    """Send requests at a steady rate, whatever becomes of them; returns the stage of each, None for an error."""
    responses, pause = Responses(), threading.Event()
    start, count = time.perf_counter(), round(RATE * seconds)
    for number in range(count):
        pause.wait(max(0.0, start + number / RATE - time.perf_counter()))
        running.send(pixels[number % len(pixels)], on_response=responses.to(number))
    for _ in range(count):
        responses.next()
    return np.array([responses.stages[number][0] if responses.stages[number] else None for number in range(count)])


def effective_threshold(running):
    return running.metric("littlebig_threshold", kind="effective")


@pytest.mark.serial
def test_with_a_target_the_surest_of_the_unsure_are_shed_and_all_are_answered(load_gate):
    running = load_gate(
        threshold=0.5, latency_target_ms=TARGET_MS, threshold_floor=0.1, max_batches_in_flight=MAX_IN_FLIGHT
    )
    running.set_behaviour("big", seconds=SECONDS_PER_IMAGE)
    stages = send_steadily(running, seconds=5, pixels=[DOUBTFUL])
    assert set(stages) == {1, 3}
    until(lambda: running.metric("littlebig_images_total", reason="overload") == (stages == 3).sum(), "counted")
    until(lambda: effective_threshold(running) == 0.5, "the threshold is restored")
    assert running.ask(DOUBTFUL) == [(1, 2)]


def test_images_below_the_floor_are_never_shed(load_gate):
    running = load_gate(threshold=0.5, latency_target_ms=50, threshold_floor=0.3, max_batches_in_flight=MAX_IN_FLIGHT)
    running.set_behaviour("big", seconds=SECONDS_PER_IMAGE)
    stages = send_steadily(running, seconds=2, pixels=[UNSURE, DOUBTFUL])
    assert set(stages[::2]) == {1}  # every UNSURE one, score 0
    assert set(stages[1::2]) <= {1, 3}


def test_without_a_target_no_image_is_shed(load_gate):
    running = load_gate(threshold=0.5)
    running.set_behaviour("big", seconds=SECONDS_PER_IMAGE)
    assert set(send_steadily(running, seconds=1, pixels=[DOUBTFUL])) == {1}
    assert effective_threshold(running) == 0.5
