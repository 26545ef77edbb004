"""No request waits for the escalation of another."""

import time

from littlebig_settings import MAX_IN_FLIGHT
from tests.e2e.gate.puppets import DEADLINE, SURE, UNSURE, until

# Seconds after which the gate checks whether a request was cancelled.
CANCELLATION_GRACE = 0.1


def test_sure_images_are_answered_while_big_works_on_unsure_ones(load_gate, responses, tmp_path):
    running = load_gate(threshold=0.5)
    running.set_behaviour("little", seconds=0.2)  # so that the next requests arrive as one batch
    running.set_behaviour("big", wait_for=str(tmp_path / "go"))
    running.send(SURE, on_response=responses.to("first"))
    for name, pixel in (("unsure", UNSURE), ("sure", SURE), ("another", SURE)):
        running.send(pixel, on_response=responses.to(name))
    assert {responses.next()[0] for _ in range(3)} == {"first", "sure", "another"}
    assert running.ask(SURE) == [(0, 1)]  # the next batch passes as well
    assert responses.empty()
    (tmp_path / "go").touch()
    assert responses.next() == ("unsure", None)


def test_a_request_with_sure_and_unsure_images_gets_both_answers(load_gate):
    running = load_gate(threshold=0.5)
    assert running.ask(SURE, UNSURE, SURE, UNSURE) == [(0, 1), (1, 2), (0, 1), (1, 2)]


def test_a_slow_big_stage_makes_requests_wait_in_tritons_queue(load_gate, responses, tmp_path):
    running = load_gate(threshold=0.5, max_batches_in_flight=2, big_timeout_ms=60_000)
    running.set_behaviour("big", wait_for=str(tmp_path / "go"))
    for number in (1, 2):
        running.send(UNSURE, on_response=responses.to(number))
        until(lambda n=number: running.metric("littlebig_batches_in_flight") == n, "a batch waits for big")
    running.send(UNSURE, on_response=responses.to(3))
    until(lambda: running.pending(running.gate) == 0, "the gate holds a third batch back")
    for number in (4, 5, 6):
        running.send(SURE, on_response=responses.to(number))
    until(lambda: running.pending(running.gate) == 3, "the others wait in Triton's queue")
    assert responses.empty()
    (tmp_path / "go").touch()
    assert sorted(responses.next() for _ in range(6)) == [(number, None) for number in range(1, 7)]


def test_the_most_batches_in_flight_leave_little_a_thread_of_tritons(load_gate, responses, tmp_path):
    running = load_gate(threshold=0.5, max_batches_in_flight=MAX_IN_FLIGHT, big_timeout_ms=60_000)
    called = tmp_path / "called"
    running.set_behaviour("big", announce=str(called), wait_for=str(tmp_path / "go"))
    numbers = range(1, MAX_IN_FLIGHT)  # with one more the gate would hold the next batch back
    for number in numbers:
        running.send(UNSURE, on_response=responses.to(number))
        until(lambda n=number: called.exists() and running.pending("big") == n - 1, "all but the first wait for big")
    assert running.ask(SURE, client_timeout=DEADLINE) == [(0, 1)]
    assert responses.empty()
    (tmp_path / "go").touch()
    assert sorted(responses.next() for _ in numbers) == [(number, None) for number in numbers]


def test_big_is_not_asked_for_cancelled_requests(load_gate, responses, tmp_path):
    running = load_gate(threshold=0.5)
    before = running.executions("big")
    running.set_behaviour("little", announce=str(tmp_path / "called"), wait_for=str(tmp_path / "go"))
    call = running.send(UNSURE, on_response=responses.to("cancelled"))
    until((tmp_path / "called").exists, "little has it")
    handed_over = time.monotonic()
    call.cancel()
    assert "CANCELLED" in str(responses.next()[1]).upper()
    until(lambda: time.monotonic() - handed_over > CANCELLATION_GRACE, "the gate checks cancellation")
    (tmp_path / "go").touch()
    assert running.ask(SURE) == [(0, 1)]
    assert running.ask(UNSURE) == [(1, 2)]
    assert running.executions("big") - before == 1
