"""Requests that wait together go to a stage together."""

from tests.e2e.gate.puppets import SURE, UNSURE, until


def test_the_gate_makes_one_call_of_each_stage_for_all_waiting_requests(load_gate, responses, tmp_path):
    running = load_gate(threshold=0.5)
    models = (running.gate, "little", "big")
    before = [running.executions(model) for model in models]
    running.set_behaviour("little", announce=str(tmp_path / "called"), wait_for=str(tmp_path / "go"))
    running.send(SURE, on_response=responses.to(0))
    until((tmp_path / "called").exists, "little has the first")
    for number, pixel in enumerate([SURE, UNSURE, SURE, UNSURE, UNSURE, SURE], start=1):
        running.send(pixel, on_response=responses.to(number))
    until(lambda: running.pending(running.gate) == 6, "the others wait for the gate")
    (tmp_path / "go").touch()
    assert sorted(responses.next() for _ in range(7)) == [(number, None) for number in range(7)]

    def executions():
        return [running.executions(model) - earlier for model, earlier in zip(models, before, strict=True)]

    # Triton counts a batch after it has answered it.
    until(lambda: executions() == [2, 2, 1], "two batches of the gate, two calls of little, one of big")


def test_unsure_images_of_several_batches_merge_in_bigs_batcher(load_gate, responses, tmp_path):
    running = load_gate(threshold=0.5, max_batches_in_flight=4, big_timeout_ms=60_000)
    before = running.executions("big")
    running.set_behaviour("big", announce=str(tmp_path / "called"), wait_for=str(tmp_path / "go"))
    for number in range(3):
        running.send(UNSURE, on_response=responses.to(number))
        until(
            lambda n=number: (tmp_path / "called").exists() and running.pending("big") == n,
            "big has the first, and the others wait for it",
        )
    (tmp_path / "go").touch()
    assert sorted(responses.next() for _ in range(3)) == [(number, None) for number in range(3)]
    until(lambda: running.executions("big") - before == 2, "one call for the first, one for the others")
