"""The layout of the in-process cascade."""

import itertools

from littlebig_benchmarks.baselines.onnxruntime_cascade import layouts
from littlebig_benchmarks.in_process import Answered
from littlebig_benchmarks.measuring import best_layout


def test_layout_is_chosen_by_its_median_and_not_by_a_lucky_run(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1})
    one_image_on_both, image_per_core, two_on_both = layouts(2)
    seconds = {
        one_image_on_both: itertools.cycle([2.0]),
        image_per_core: itertools.cycle([9.0, 1.0, 1.0]),
        two_on_both: itertools.cycle([0.5, 3.0, 3.0]),
    }
    assert best_layout(lambda layout: Answered(60, next(seconds[layout]), 9, 1.0)) == image_per_core
