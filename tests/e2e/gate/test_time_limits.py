"""A caller's own time limit, in microseconds as KServe's `timeout` has it, while it waits for a slow big stage."""

import re
import time

import pytest
from tests.e2e.gate.puppets import SURE, UNSURE, next_of, noted, until
from tritonclient.utils import InferenceServerException

HURRIED = 200_000


def test_the_hurried_get_littles_answer_in_time_and_their_neighbours_bigs(puppets, answers, tmp_path):
    with puppets(threshold=0.5, on_big_failure="little", big_timeout_ms=60_000) as running:
        before = running.executions("little")
        running.tell("little", announce=str(tmp_path / "asked"), wait_for=str(tmp_path / "go-little"))
        running.tell("big", wait_for=str(tmp_path / "go"))
        running.send(SURE, told=noted(answers, "first"))
        until((tmp_path / "asked").exists, "little is busy")
        stages = {}

        def told(name):
            def note(result, error):
                stages[name] = None if error else result.as_numpy("stage").ravel().tolist()
                answers.put((name, error))

            return note

        running.send(UNSURE, told=told("patient"))
        running.send(UNSURE, SURE, told=told("hurried"), timeout=HURRIED)
        until(lambda: running.pending("little_big") == 2, "they wait for the same batch")
        (tmp_path / "go-little").touch()
        assert [next_of(answers) for _ in range(2)] == [("first", None), ("hurried", None)]
        assert running.executions("little") == before + 2
        assert stages["hurried"] == [2, 0]
        assert answers.empty()
        until(lambda: running.metric("littlebig_big_failures_total", reason="caller_timeout") == 1, "it is counted")
        assert running.metric("littlebig_breaker_state") == 0  # big may have too much to do; it is not dead
        (tmp_path / "go").touch()
        assert next_of(answers) == ("patient", None)
        assert stages["patient"] == [1]
        assert running.ask(UNSURE, timeout=30_000_000) == [(1, 2)]


def test_without_little_in_its_place_they_are_told_as_tritons_queues_tell_it(puppets, tmp_path):
    with puppets(threshold=0.5, big_timeout_ms=60_000) as running:
        running.tell("big", wait_for=str(tmp_path / "go"))
        asked = time.monotonic()
        with pytest.raises(InferenceServerException) as refusal:
            running.ask(UNSURE, timeout=HURRIED)
        assert time.monotonic() - asked >= HURRIED / 1e6
        assert refusal.value.status() == "StatusCode.UNAVAILABLE"
        assert re.fullmatch(r"Request timeout expired before stage 'big' answered: .*", refusal.value.message())
        assert running.ask(SURE, timeout=HURRIED) == [(0, 1)]
        (tmp_path / "go").touch()


def test_a_batch_whose_callers_gave_up_keeps_its_place_until_big_is_done_with_it(puppets, answers, tmp_path):
    with puppets(threshold=0.5, on_big_failure="little", big_timeout_ms=60_000, max_batches_in_flight=2) as running:
        running.tell("big", wait_for=str(tmp_path / "go"))
        assert [running.ask(UNSURE, timeout=HURRIED) for _ in range(2)] == [[(2, 1)]] * 2
        until(lambda: running.metric("littlebig_batches_in_flight") == 2, "both still occupy big")
        # No place is left: the hurried have little's answer all the same, and big is not asked.
        assert [running.ask(pixel, timeout=HURRIED) for pixel in (UNSURE, SURE)] == [[(2, 1)], [(0, 1)]]
        running.send(UNSURE, told=noted(answers, "patient"))
        until(lambda: running.pending("little_big") == 0, "the gate holds the patient one back")
        assert running.metric("littlebig_batches_in_flight") == 2
        assert answers.empty()
        (tmp_path / "go").touch()
        assert next_of(answers) == ("patient", None)
        until(lambda: running.metric("littlebig_batches_in_flight") == 0, "all are back")
        assert running.metric("littlebig_big_failures_total", reason="caller_timeout") == 3
