"""What waits together goes to a stage together."""

from tests.e2e.gate.puppets import SURE, UNSURE, next_of, noted, until


def test_the_gate_makes_one_call_of_each_stage_for_all_requests_that_wait(puppets, answers, tmp_path):
    with puppets(threshold=0.5) as running:
        models = ("little_big", "little", "big")
        before = [running.executions(model) for model in models]
        running.tell("little", announce=str(tmp_path / "asked"), wait_for=str(tmp_path / "go"))
        running.send(SURE, told=noted(answers, 0))
        until((tmp_path / "asked").exists, "little has the first")
        for number, pixel in enumerate([SURE, UNSURE, SURE, UNSURE, UNSURE, SURE], start=1):
            running.send(pixel, told=noted(answers, number))
        until(lambda: running.pending("little_big") == 6, "the others wait for the gate")
        (tmp_path / "go").touch()
        assert sorted(next_of(answers) for _ in range(7)) == [(number, None) for number in range(7)]

        def made():
            return [running.executions(model) - earlier for model, earlier in zip(models, before, strict=True)]

        # Triton counts a batch after it has answered it.
        until(lambda: made() == [2, 2, 1], "two batches of the gate, two calls of little, one of big")


def test_escalated_images_of_several_batches_merge_in_the_batcher_of_big(puppets, answers, tmp_path):
    with puppets(threshold=0.5, max_batches_in_flight=4, big_timeout_ms=60_000) as running:
        before = running.executions("big")
        running.tell("big", announce=str(tmp_path / "asked"), wait_for=str(tmp_path / "go"))
        for number in range(3):
            running.send(UNSURE, told=noted(answers, number))
            until(
                lambda n=number: (tmp_path / "asked").exists() and running.pending("big") == n,
                "big has the first, and the others wait for it",
            )
        (tmp_path / "go").touch()
        assert sorted(next_of(answers) for _ in range(3)) == [(number, None) for number in range(3)]
        until(lambda: running.executions("big") - before == 2, "one call for the first, one for the others")
