"""The big stage is killed, hangs, is unloaded or returns errors under load, and comes back."""

import signal
import threading
from contextlib import contextmanager

import pytest
from tests.e2e.gate.conftest import write_gate
from tests.e2e.gate.puppets import DEADLINE, SURE, UNSURE, Puppets, until
from tritonclient.utils import InferenceServerException

CALLERS, EVERY = 4, 4  # every fourth request is unsure


class Load:
    """Callers that each ask for one image after another, and the responses they get."""

    def __init__(self, running):
        self.running, self.stop, self.lock = running, threading.Event(), threading.Lock()
        self.responses, self.open = [], 0
        self.quiet = threading.Condition(self.lock)

    def start(self):
        for number in range(CALLERS):
            self.ask(number)

    def ask(self, number):
        with self.lock:
            self.open += 1
        unsure = number % EVERY == 0

        def on_response(result, error):
            with self.lock:
                self.responses.append((unsure, None if error else int(result.as_numpy("stage")[0, 0]), error))
                self.open -= 1
                self.quiet.notify_all()
            if not self.stop.is_set():
                self.ask(number + CALLERS + 1)

        self.running.send(UNSURE if unsure else SURE, on_response=on_response)

    def count(self):
        with self.lock:
            return len(self.responses)

    def is_affected(self):
        return any(error or stage == 2 for _, stage, error in list(self.responses))

    def is_in_full_service(self):
        return all(stage == (1 if unsure else 0) for unsure, stage, _ in list(self.responses)[-40:])

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


def kill(running):
    """Triton 24.10 starts a Python stub again only when the model is loaded again."""
    running.signal("big", signal.SIGKILL)
    return lambda: reload(running)


def reload(running):
    triton = running.holding("big").triton
    triton.unload_model("big")
    triton.load_model("big")


def hang(running):
    go = running.folder / f"go-{running.gate}"
    running.set_behaviour("big", wait_for=str(go))

    def restore():
        go.touch()
        running.set_behaviour("big")

    return restore


def unload(running):
    triton = running.holding("big").triton
    triton.unload_model("big")
    return lambda: triton.load_model("big")


def fail(running):
    running.set_behaviour("big", error="out of memory")
    return lambda: running.set_behaviour("big")


SETTINGS = {"instances": 2, "threshold": 0.5, "big_timeout_ms": 1000, "breaker_retry_ms": 500}


def check_fault(failing, standing_in, fault):
    """Break big under load, with an error for its callers in one gate and little's answer in the other."""
    with loaded(failing) as errors, loaded(standing_in) as little:
        restore = fault(failing)
        for load in (errors, little):
            until(load.is_affected, "the fault is noticed")
        before = [load.count() for load in (errors, little)]
        for load, count in zip((errors, little), before, strict=True):
            until(lambda load=load, count=count: load.count() > count + 50, "the load goes on")
        restore()
        for load in (errors, little):
            until(load.is_in_full_service, "full service")
            load.end()
    for load in (errors, little):
        assert {stage for unsure, stage, error in load.responses if not unsure} == {0}, "a sure image was affected"
    failed = [str(error) for _, _, error in errors.responses if error]
    assert failed
    assert all("stage 'big' failed: " in error for error in failed)
    assert not [error for _, _, error in little.responses if error]
    assert {stage for unsure, stage, _ in little.responses if unsure} == {1, 2}


@pytest.mark.parametrize("fault", [hang, unload, fail])
def test_a_fault_of_big_affects_only_unsure_images_until_big_is_back(load_gate, fault):
    failing = load_gate(on_big_failure="error", **SETTINGS)
    check_fault(failing, load_gate(on_big_failure="little", **SETTINGS), fault)


def test_a_killed_big_affects_only_unsure_images_until_it_is_loaded_again(puppets, tiny_repository):
    with puppets(load=("little", "big"), wait_for="big") as running:
        gates = []
        for policy in ("error", "little"):
            write_gate(tiny_repository, running.folder, f"gate_{policy}", on_big_failure=policy, **SETTINGS)
            running.triton.load_model(f"gate_{policy}")
            gates.append(Puppets(running.folder, running.server, running.triton, f"gate_{policy}"))
        check_fault(*gates, kill)


def test_a_hung_big_costs_one_timeout_and_not_one_per_request(load_gate):
    running = load_gate(threshold=0.5, on_big_failure="little", big_timeout_ms=500, breaker_retry_ms=200)
    restore = hang(running)
    assert [running.ask(UNSURE) for _ in range(30)] == [[(2, 1)]] * 30
    until(lambda: running.metric("littlebig_big_failures_total", reason="breaker_open") == 29, "counted")
    assert running.metric("littlebig_big_failures_total", reason="timeout") == 1
    assert running.metric("littlebig_breaker_state") in (1, 2)
    restore()
    until(lambda: running.ask(UNSURE) == [(1, 2)], "big is back")
    until(lambda: running.metric("littlebig_breaker_state") == 0, "the breaker is closed")


def test_a_hung_big_opens_the_breaker_though_all_callers_gave_up_before(load_gate):
    running = load_gate(threshold=0.5, on_big_failure="little", big_timeout_ms=500, breaker_retry_ms=200)
    restore = hang(running)
    # Triton itself rejects nothing from the queue of a stage that hangs.
    assert [running.ask(UNSURE, timeout=100_000) for _ in range(40)] == [[(2, 1)]] * 40
    assert running.ask(SURE, timeout=100_000) == [(0, 1)]

    def failures(reason):
        return running.metric("littlebig_big_failures_total", reason=reason)

    until(lambda: failures("caller_timeout") + failures("breaker_open") == 40, "counted")
    assert failures("breaker_open") >= 30  # 500 ms of callers who wait for 100 ms, one after the other
    restore()
    until(lambda: running.ask(UNSURE) == [(1, 2)], "big is back")


def test_little_does_not_stand_in_for_a_request_of_policy_big(load_gate):
    running = load_gate(threshold=0.5, on_big_failure="little")
    running.set_behaviour("big", error="out of memory")
    with pytest.raises(InferenceServerException, match="stage 'big' failed: out of memory"):
        running.ask(SURE, parameters={"policy": "big"})
    assert running.ask(UNSURE) == [(2, 1)]


@pytest.mark.parametrize("stage", ["little", "big"])
def test_a_stage_that_answers_another_number_of_rows_has_failed(load_gate, stage):
    running = load_gate(threshold=0.5, breaker_retry_ms=100)
    running.set_behaviour(stage, rows=3)
    with pytest.raises(
        InferenceServerException, match=rf"stage '{stage}' failed: output '\w+' has 3 rows for 2 images"
    ):
        running.ask(UNSURE, UNSURE)
    running.set_behaviour(stage)
    assert running.ask(UNSURE, UNSURE) == [(1, 2), (1, 2)]


# What all requests of a stage's batch get if one of them claims 0 or 2^32 images of a height of 260.
CLAIMED = "batch size 261 for 'big_0_0', max allowed is 32"


@pytest.mark.parametrize("stage", ["little", "big"])
def test_a_call_that_a_strangers_claimed_batch_has_failed_is_repeated(load_gate, stage):
    running = load_gate(threshold=0.5)
    running.set_behaviour(stage, error=CLAIMED, once=True)
    assert running.ask(UNSURE) == [(1, 2)]


def test_claimed_batches_open_no_breaker(load_gate):
    running = load_gate(threshold=0.5, breaker_retry_ms=60_000)
    running.set_behaviour("big", error=CLAIMED)
    for _ in range(5):
        with pytest.raises(InferenceServerException, match="max allowed is 32"):
            running.ask(UNSURE)
    running.set_behaviour("big")
    assert running.ask(UNSURE) == [(1, 2)]
