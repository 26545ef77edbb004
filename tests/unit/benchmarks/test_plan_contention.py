"""What is worked out from the stages' counters while both of them are kept busy."""

import pytest
from tests.planning import curve

from littlebig_benchmarks.planning.contention import weight_of_big, work_done, work_of_clients
from littlebig_benchmarks.planning.curves import StageCurve

TOGETHER = {"little": 2, "big": 2}


def stages(**of_big):
    """Little takes 10 ms for each image and big 20; little has two instances of a thread."""
    return {
        "little": StageCurve(curve(0.01, 0.01), 2, 32, preferred_batch_size=2),
        "big": StageCurve(
            curve(0.02, 0.02), **{"instances": 2, "max_batch_size": 32, "preferred_batch_size": 2, **of_big}
        ),
    }


def test_bigs_weight_is_what_one_of_its_threads_gets_done_beside_one_of_littles():
    assert weight_of_big({"little": 1.6, "big": 0.4}, stages()) == pytest.approx(0.25)
    assert weight_of_big({"little": 1.6, "big": 0.4}, stages(instances=1)) == pytest.approx(0.5)
    assert weight_of_big({"little": 1.6, "big": 0.4}, stages(instances=1, threads=4)) == pytest.approx(0.125)


def test_work_is_what_the_batches_would_have_taken_alone():
    # Little: 20 batches of two images and one of three, in 0.5 s; its lone image takes 10 ms, so two take 20.
    assert work_done([{2: 15}, {2: 5, 3: 1}], stages()["little"], 0.5) == pytest.approx((20 * 0.02 + 0.03) / 0.5)
    assert work_done([{2: 15}], stages(threads=2)["big"], 1.0) == pytest.approx(15 * 0.04 * 2)


def test_clients_work_a_while_for_each_request():
    # Little gets 1.6 s of work done in a second: 80 requests of two images; big 0.4 s: ten.
    assert work_of_clients({"little": 1.6, "big": 0.4}, stages(), TOGETHER, 0.001) == pytest.approx(0.090)


def test_a_batch_that_takes_several_cores_is_as_much_more_work():
    # Big's request of two images is 40 ms on four cores, so 0.4 s of work are 2.5 requests.
    assert work_of_clients({"little": 1.6, "big": 0.4}, stages(threads=4), TOGETHER, 0.001) == pytest.approx(0.0825)
