"""The capacity of a device, from the batches that both stages finish while they are busy."""

import pytest
from tests.planning import curve

from littlebig_benchmarks.errors import RunFailed
from littlebig_benchmarks.planning.contention import Busy, capacity_when_busy
from littlebig_benchmarks.planning.curves import StageCurve


def stages(threads=1):
    """Little takes 10 ms for each image and big 20."""
    return {"little": StageCurve(curve(0.01, 0.01), 2, 32), "big": StageCurve(curve(0.02, 0.02), 2, 32, threads)}


def test_capacity_is_the_time_that_the_batches_take_one_after_another():
    busy = [Busy(0.3, {"little": {2: 15}, "big": {2: 1}}), Busy(0.2, {"little": {2: 5, 3: 1}, "big": {1: 1}})]
    assert capacity_when_busy(busy, stages()) == pytest.approx((20 * 0.02 + 0.03 + 0.04 + 0.02) / 0.5)


def test_batch_on_several_cores_is_as_much_more_work():
    busy = [Busy(1.0, {"little": {1: 50}, "big": {1: 10}})]
    assert capacity_when_busy(busy, stages(threads=4)) == pytest.approx(0.5 + 4 * 0.2)


def test_stage_that_finishes_nothing_has_no_capacity():
    with pytest.raises(RunFailed, match=r"^'big' finished no batch in 1 s beside the other stage: serve it with more"):
        capacity_when_busy([Busy(1.0, {"little": {1: 50}, "big": {}})], stages())
