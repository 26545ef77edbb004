"""A caller's own time limit, KServe's `timeout` in microseconds, while it waits for a slow big stage."""

import re
import time

import pytest
from tests.e2e.gate.puppets import SURE, UNSURE, until
from tritonclient.utils import InferenceServerException

LIMIT_US = 200_000


def test_timeout_answers_with_little_and_leaves_neighbours_waiting(load_gate, responses, tmp_path):
    running = load_gate(threshold=0.5, on_big_failure="little", big_timeout_ms=60_000)
    before = running.executions("little")
    running.set_behaviour("little", announce=str(tmp_path / "called"), wait_for=str(tmp_path / "little-goes"))
    running.set_behaviour("big", wait_for=str(tmp_path / "go"))
    running.send(SURE, on_response=responses.to("first"))
    until((tmp_path / "called").exists, "little is busy")
    running.send(UNSURE, on_response=responses.to("unlimited"))
    running.send(UNSURE, SURE, on_response=responses.to("limited"), timeout=LIMIT_US)
    until(lambda: running.pending(running.gate) == 2, "they wait for the same batch")
    (tmp_path / "little-goes").touch()
    assert [responses.next() for _ in range(2)] == [("first", None), ("limited", None)]
    assert running.executions("little") == before + 2
    assert responses.stages["limited"] == [2, 0]
    assert responses.empty()
    until(lambda: running.metric("littlebig_big_failures_total", reason="caller_timeout") == 1, "it is counted")
    assert running.metric("littlebig_breaker_state") == 0
    (tmp_path / "go").touch()
    assert responses.next() == ("unlimited", None)
    assert responses.stages["unlimited"] == [1]
    assert running.ask(UNSURE, timeout=30_000_000) == [(1, 2)]


def test_timeout_is_tritons_own_error_where_little_may_not_stand_in(load_gate, tmp_path):
    running = load_gate(threshold=0.5, big_timeout_ms=60_000)
    running.set_behaviour("big", wait_for=str(tmp_path / "go"))
    asked = time.monotonic()
    with pytest.raises(InferenceServerException) as refusal:
        running.ask(UNSURE, timeout=LIMIT_US)
    assert time.monotonic() - asked >= LIMIT_US / 1e6
    assert refusal.value.status() == "StatusCode.UNAVAILABLE"
    assert re.fullmatch(r"Request timeout expired before stage 'big' answered: .*", refusal.value.message())
    assert running.ask(SURE, timeout=LIMIT_US) == [(0, 1)]
    (tmp_path / "go").touch()


def test_a_batch_whose_callers_gave_up_keeps_its_slot_until_big_has_answered(load_gate, responses, tmp_path):
    running = load_gate(threshold=0.5, on_big_failure="little", big_timeout_ms=60_000, max_batches_in_flight=2)
    running.set_behaviour("big", wait_for=str(tmp_path / "go"))
    assert [running.ask(UNSURE, timeout=LIMIT_US) for _ in range(2)] == [[(2, 1)]] * 2
    until(lambda: running.metric("littlebig_batches_in_flight") == 2, "both still occupy big")
    # No slot is free: limited requests get little's answer all the same, and big is not asked.
    assert [running.ask(pixel, timeout=LIMIT_US) for pixel in (UNSURE, SURE)] == [[(2, 1)], [(0, 1)]]
    running.send(UNSURE, on_response=responses.to("unlimited"))
    until(lambda: running.pending(running.gate) == 0, "the gate holds the unlimited one back")
    assert running.metric("littlebig_batches_in_flight") == 2
    assert responses.empty()
    (tmp_path / "go").touch()
    assert responses.next() == ("unlimited", None)
    until(lambda: running.metric("littlebig_batches_in_flight") == 0, "all slots are free")
    assert running.metric("littlebig_big_failures_total", reason="caller_timeout") == 3
