"""A model hangs if requests wait for it and nothing of it moves; load alone is no hang."""

import pytest

from littlebig_server.hang import Activity, HangDetector, read_activities

IDLE = Activity(waiting=0, finished=7, cpu_s=1.0)
WAITING = Activity(waiting=3, finished=7, cpu_s=1.0)


def observed(detector: HangDetector, seconds: int, **changes: list[Activity]) -> list[list[str]]:
    """What the detector finds in each second; a model's last activity lasts."""
    return [
        detector.observe(float(second), {model: steps[min(second, len(steps) - 1)] for model, steps in changes.items()})
        for second in range(seconds)
    ]


def test_a_model_that_does_not_move_while_requests_wait_hangs_after_the_timeout() -> None:
    assert observed(HangDetector(5, {}), 8, preprocess=[IDLE, WAITING]) == [[]] * 5 + [["preprocess"]] * 3


def test_an_idle_model_does_not_hang() -> None:
    assert observed(HangDetector(5, {}), 20, preprocess=[IDLE]) == [[]] * 20


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(lambda second: Activity(3, second, 1.0), id="answers"),
        pytest.param(lambda second: Activity(3, 7, second * 0.2), id="computes a fifth of the time on a busy machine"),
        pytest.param(lambda second: Activity(second % 4, 7, 1.0), id="has an empty queue now and then"),
    ],
)
def test_a_busy_model_does_not_hang(step) -> None:
    assert observed(HangDetector(5, {}), 20, little=[step(second) for second in range(20)]) == [[]] * 20


def test_the_few_milliseconds_of_a_process_own_threads_are_no_movement() -> None:
    steps = [Activity(3, 7, second * 0.002) for second in range(8)]
    assert observed(HangDetector(5, {}), 8, little=steps)[-1] == ["little"]


def test_a_gate_does_not_hang_while_a_stage_moves() -> None:
    computing = [Activity(0, 7, float(second)) for second in range(20)]
    assert observed(HangDetector(5, {}), 20, little_big=[WAITING], little=[IDLE], big=computing) == [[]] * 20


def test_a_hung_stage_comes_before_the_gate_that_waits_for_it() -> None:
    found = observed(HangDetector(5, {}), 8, little_big=[WAITING], little=[WAITING], big=[IDLE])
    assert found[-1] == ["little", "little_big"]


def test_a_gate_may_wait_for_big_as_long_as_its_own_time_limit() -> None:
    detector = HangDetector(5, {"little_big": 3.0})
    found = observed(detector, 10, little_big=[WAITING], big=[IDLE])
    assert found == [[]] * 8 + [["little_big"]] * 2
    assert (detector.limit("little_big"), detector.limit("big")) == (8, 5)


def test_a_model_that_was_loaded_again_has_the_whole_timeout() -> None:
    detector = HangDetector(5, {})
    observed(detector, 6, little=[WAITING])
    detector.forget("little")
    assert detector.observe(6.0, {"little": WAITING}) == []
    assert detector.observe(10.9, {"little": WAITING}) == []
    assert detector.observe(11.0, {"little": WAITING}) == ["little"]


def test_activities_are_read_from_the_page_of_metrics() -> None:
    page = """
# TYPE nv_inference_request_success counter
nv_inference_request_success{model="big",version="1"} 20
nv_inference_request_success{model="little",version="1"} 40
nv_inference_request_failure{model="big",reason="OTHER",version="1"} 2
nv_inference_request_failure{model="big",reason="BACKEND",version="1"} 1
nv_inference_pending_request_count{model="big",version="1"} 5
nv_inference_count{model="big",version="1"} 99
"""
    assert read_activities(page, {"big": 1.5}) == {"big": Activity(5, 23, 1.5), "little": Activity(0, 40, 0.0)}
