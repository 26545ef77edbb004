"""The big stage is killed, hangs, is unloaded or returns errors in mid-load, and comes back."""

import signal
import threading
from contextlib import contextmanager

import pytest
from tests.e2e.gate.puppets import DEADLINE, SURE, UNSURE, until
from tritonclient.utils import InferenceServerException

CALLERS, EVERY = 8, 4  # of eight callers' requests every fourth is unsure


class Load:
    """Callers that ask one image after the other and note what they are told."""

    def __init__(self, running):
        self.running, self.stop, self.lock = running, threading.Event(), threading.Lock()
        self.told, self.open = [], 0
        self.quiet = threading.Condition(self.lock)

    def start(self):
        for number in range(CALLERS):
            self.ask(number)

    def ask(self, number):
        with self.lock:
            self.open += 1
        unsure = number % EVERY == 0

        def told(result, error):
            with self.lock:
                self.told.append((unsure, None if error else int(result.as_numpy("stage")[0, 0]), error))
                self.open -= 1
                self.quiet.notify_all()
            if not self.stop.is_set():
                self.ask(number + CALLERS + 1)

        self.running.send(UNSURE if unsure else SURE, told=told)

    def count(self):
        with self.lock:
            return len(self.told)

    def end(self):
        self.stop.set()
        with self.lock:
            assert self.quiet.wait_for(lambda: self.open == 0, DEADLINE), "a request was never answered"


@contextmanager
def loaded(running):
    load = Load(running)
    load.start()
    try:
        until(lambda: load.count() > 50, "the load runs")
        yield load
    finally:
        load.end()


def killed(running):
    """Triton 24.10 does not start a Python stub again whose process has died: it takes a new load."""
    running.signal("big", signal.SIGKILL)
    return lambda: reload(running)


def reload(running):
    running.triton.unload_model("big")
    running.triton.load_model("big")


def hung(running):
    go_on = running.folder / "go-on"
    running.tell("big", wait_for=str(go_on))

    def restore():
        go_on.touch()
        running.tell("big")

    return restore


def unloaded(running):
    running.triton.unload_model("big")
    return lambda: running.triton.load_model("big")


def erring(running):
    running.tell("big", error="out of memory")
    return lambda: running.tell("big")


@pytest.mark.parametrize("policy", ["error", "little"])
@pytest.mark.parametrize("fault", [killed, hung, unloaded, erring])
def test_only_the_escalated_feel_it_and_service_is_full_again_when_big_is_back(puppets, fault, policy):
    with (
        puppets(
            gate_instances=2, threshold=0.5, on_big_failure=policy, big_timeout_ms=1000, breaker_retry_ms=500
        ) as running,
        loaded(running) as load,
    ):
        restore = fault(running)
        until(lambda: any(error or stage == 2 for _, stage, error in list(load.told)), "the fault is felt")
        before = load.count()
        until(lambda: load.count() > before + 100, "the load goes on meanwhile")
        restore()

        def full_service():
            recent = list(load.told)[-40:]
            return all(stage == (1 if unsure else 0) for unsure, stage, _ in recent)

        until(full_service, "full service")
        load.end()
        failed = [(unsure, error) for unsure, _, error in load.told if error]
        assert all(unsure for unsure, _ in failed), "a sure image failed"
        assert all("stage 'big' failed: " in str(error) for _, error in failed)
        assert {stage for unsure, stage, error in load.told if not unsure} == {0}
        if policy == "little":
            assert not failed
            assert {stage for unsure, stage, _ in load.told if unsure} == {1, 2}
        else:
            assert failed


def test_a_dead_big_stage_costs_one_timeout_and_not_one_per_request(puppets):
    with puppets(threshold=0.5, on_big_failure="little", big_timeout_ms=500, breaker_retry_ms=200) as running:
        restore = hung(running)
        assert [running.ask(UNSURE) for _ in range(30)] == [[(2, 1)]] * 30
        until(lambda: running.metric("littlebig_big_failures_total", reason="breaker_open") == 29, "counted")
        assert running.metric("littlebig_big_failures_total", reason="timeout") == 1
        assert running.metric("littlebig_breaker_state") in (1, 2)
        restore()
        until(lambda: running.ask(UNSURE) == [(1, 2)], "big is back")
        until(lambda: running.metric("littlebig_breaker_state") == 0, "the breaker is closed")


def test_a_hung_stage_opens_the_breaker_though_all_callers_gave_up_before(puppets):
    with puppets(threshold=0.5, on_big_failure="little", big_timeout_ms=500, breaker_retry_ms=200) as running:
        restore = hung(running)
        # Triton itself rejects nothing from the queue of a stage that hangs.
        assert [running.ask(UNSURE, timeout=100_000) for _ in range(40)] == [[(2, 1)]] * 40
        assert running.ask(SURE, timeout=100_000) == [(0, 1)]

        def failures(reason):
            return running.metric("littlebig_big_failures_total", reason=reason)

        until(lambda: failures("caller_timeout") + failures("breaker_open") == 40, "counted")
        assert failures("breaker_open") >= 30  # 500 ms of callers who wait for 100 ms, one after the other
        restore()
        until(lambda: running.ask(UNSURE) == [(1, 2)], "big is back")


def test_an_explicit_wish_for_big_gets_bigs_failure_and_no_substitute(puppets):
    with puppets(threshold=0.5, on_big_failure="little") as running:
        running.tell("big", error="out of memory")
        with pytest.raises(Exception, match="stage 'big' failed: out of memory"):
            running.ask(SURE, parameters={"policy": "big"})
        assert running.ask(UNSURE) == [(2, 1)]


@pytest.mark.parametrize("stage", ["little", "big"])
def test_a_stage_that_answers_another_number_of_images_has_failed(puppets, stage):
    with puppets(threshold=0.5, breaker_retry_ms=100) as running:
        running.tell(stage, rows=3)
        with pytest.raises(
            InferenceServerException, match=rf"stage '{stage}' failed: output '\w+' has 3 rows for 2 images"
        ):
            running.ask(UNSURE, UNSURE)
        running.tell(stage)
        assert running.ask(UNSURE, UNSURE) == [(1, 2), (1, 2)]
