"""Nobody waits for somebody else's escalation."""

import time

from littlebig_settings import MOST_IN_FLIGHT
from tests.e2e.gate.puppets import DEADLINE, SURE, UNSURE, next_of, noted, until

# Seconds after which the gate asks whether a request's caller is still there.
OLD = 0.1


def test_sure_images_are_answered_while_big_still_works_on_the_unsure(puppets, answers, tmp_path):
    with puppets(threshold=0.5) as running:
        running.tell("little", seconds=0.2)  # so that what follows arrives as one batch
        running.tell("big", wait_for=str(tmp_path / "go"))
        running.send(SURE, told=noted(answers, "first"))
        for name, pixel in (("unsure", UNSURE), ("sure", SURE), ("another", SURE)):
            running.send(pixel, told=noted(answers, name))
        assert {next_of(answers)[0] for _ in range(3)} == {"first", "sure", "another"}
        assert running.ask(SURE) == [(0, 1)]  # and the next batch goes through as well
        assert answers.empty()
        (tmp_path / "go").touch()
        assert next_of(answers) == ("unsure", None)


def test_one_request_with_sure_and_unsure_images_has_both_answers(puppets):
    with puppets(threshold=0.5) as running:
        assert running.ask(SURE, UNSURE, SURE, UNSURE) == [(0, 1), (1, 2), (0, 1), (1, 2)]


def test_a_slow_big_stage_pushes_back_into_tritons_queue(puppets, answers, tmp_path):
    with puppets(threshold=0.5, max_batches_in_flight=2, big_timeout_ms=60_000) as running:
        running.tell("big", wait_for=str(tmp_path / "go"))
        for number in (1, 2):
            running.send(UNSURE, told=noted(answers, number))
            until(lambda n=number: running.metric("littlebig_batches_in_flight") == n, "a batch waits for big")
        running.send(UNSURE, told=noted(answers, 3))
        until(lambda: running.pending("little_big") == 0, "the gate holds a third batch back")
        for number in (4, 5, 6):
            running.send(SURE, told=noted(answers, number))
        until(lambda: running.pending("little_big") == 3, "the others wait in Triton's queue")
        assert answers.empty()
        (tmp_path / "go").touch()
        assert sorted(next_of(answers) for _ in range(6)) == [(number, None) for number in range(1, 7)]


def test_as_many_batches_as_may_wait_for_big_leave_little_a_thread_of_tritons(puppets, answers, tmp_path):
    with puppets(threshold=0.5, max_batches_in_flight=MOST_IN_FLIGHT, big_timeout_ms=60_000) as running:
        asked = tmp_path / "asked"
        running.tell("big", announce=str(asked), wait_for=str(tmp_path / "go"))
        numbers = range(1, MOST_IN_FLIGHT)  # one more, and the gate would hold the next batch back
        for number in numbers:
            running.send(UNSURE, told=noted(answers, number))
            until(lambda n=number: asked.exists() and running.pending("big") == n - 1, "all but the first wait for big")
        assert running.ask(SURE, client_timeout=DEADLINE) == [(0, 1)]
        assert answers.empty()
        (tmp_path / "go").touch()
        assert sorted(next_of(answers) for _ in numbers) == [(number, None) for number in numbers]


def test_requests_whose_callers_have_gone_cost_big_nothing(puppets, answers, tmp_path):
    with puppets(threshold=0.5) as running:
        before = running.executions("big")
        running.tell("little", announce=str(tmp_path / "asked"), wait_for=str(tmp_path / "go"))
        call = running.send(UNSURE, told=noted(answers, "gone"))
        until((tmp_path / "asked").exists, "little has it")
        handed_over = time.monotonic()
        call.cancel()
        assert "CANCELLED" in str(next_of(answers)[1]).upper()
        until(lambda: time.monotonic() - handed_over > OLD, "the gate asks whether old requests are still wanted")
        (tmp_path / "go").touch()
        assert running.ask(SURE) == [(0, 1)]
        assert running.ask(UNSURE) == [(1, 2)]
        assert running.executions("big") - before == 1
