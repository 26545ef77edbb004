"""Images per second of a replica, and the replicas for a rate."""

import pytest
from tests.planning import curve, curves

from littlebig_benchmarks.planning.capacity import Target, big_capacity, cascade_capacity, plan
from littlebig_benchmarks.planning.errors import PlanRefused

MS = 1e-3


def test_device_is_shared_by_little_and_the_escalated_part_of_big():
    # 2 ms for little and a tenth of 20 ms for big: 4 ms an image, on a device that does 1.5 times a lone batch's work.
    made = curves(curve(2 * MS, 2 * MS), curve(20 * MS, 20 * MS), capacity=1.5, instances=2)
    capacity = cascade_capacity(made, 0.1)
    assert (capacity.images_per_second, capacity.limit) == (pytest.approx(1.5 / 4e-3), "device")
    assert big_capacity(made).images_per_second == pytest.approx(1.5 / 20e-3)


def test_stages_are_counted_at_their_best_batch_size():
    made = curves(curve(2 * MS), curve(32 * MS), instances=8)  # a batch of 32 takes as long as one image
    assert cascade_capacity(made, 0.5).images_per_second == pytest.approx(32 / 18e-3)
    smaller = curves(curve(2 * MS), curve(32 * MS), instances=8, max_batch_size=4)
    assert cascade_capacity(smaller, 0.5).images_per_second == pytest.approx(4 / 18e-3)


def test_instances_limit_a_stage_that_leaves_the_device_idle():
    made = curves(curve(2 * MS, 2 * MS), curve(20 * MS, 20 * MS), capacity=8.0)
    assert big_capacity(made).limit == "big"
    assert big_capacity(made).images_per_second == pytest.approx(1 / 20e-3)
    assert cascade_capacity(made, 0.5).limit == "big"
    assert cascade_capacity(made, 0.01).limit == "little"
    assert cascade_capacity(made, 0.0).images_per_second == pytest.approx(1 / 2e-3)


def test_gate_instance_is_occupied_for_its_own_time_and_littles():
    made = curves(curve(2 * MS, 2 * MS), curve(2 * MS, 2 * MS), gate=16 * MS, capacity=9.0)
    capacity = cascade_capacity(made, 0.0)
    assert capacity.limit == "gate"
    assert capacity.images_per_second == pytest.approx(32 / (16e-3 + 64e-3))


def test_gate_and_threads_cost_cores_on_a_cpu():
    made = curves(curve(2 * MS, 2 * MS), curve(4 * MS, 4 * MS), gate=32 * MS, kind="cpu", capacity=8.0, threads=2)
    assert big_capacity(made).images_per_second == pytest.approx(1 / 4e-3)
    more = curves(
        curve(2 * MS, 2 * MS), curve(4 * MS, 4 * MS), gate=32 * MS, kind="cpu", capacity=8.0, threads=2, instances=8
    )
    work = 2 * 2e-3 + 0.5 * 2 * 4e-3 + 1e-3
    assert cascade_capacity(more, 0.5).images_per_second == pytest.approx(8 / work)


def test_replicas_stay_within_the_utilisation():
    made = curves(curve(2 * MS, 2 * MS), curve(20 * MS, 20 * MS), instances=2)  # 250 and 50 images/s
    result = plan(made, Target(1000, 0.1, 0.7))
    assert result.replicas(result.cascade) == 6  # five would be used to 80 %
    assert result.utilisation(result.cascade) == pytest.approx(1000 / (6 * 250))
    assert result.replicas(result.big) == 29
    assert result.cost_ratio == pytest.approx(29 / 6)


def test_rate_that_fills_the_utilisation_exactly_needs_no_further_replica():
    made = curves(curve(2 * MS, 2 * MS), curve(20 * MS, 20 * MS), instances=2)
    result = plan(made, Target(3 * 0.7 * 250, 0.1, 0.7))
    assert result.replicas(result.cascade) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((0, 0.1), "a rate of 0 images/s cannot be planned for: give one above 0"),
        ((float("nan"), 0.1), "a rate of nan images/s cannot be planned for: give one above 0"),
        ((5, 2), "escalation 2 is no fraction: give one from 0 to 1, such as 0.15"),
        ((5, 0.1, 0), "utilisation 0 is no fraction: give one above 0 and up to 1"),
        ((5, 0.1, 1.2), "utilisation 1.2 is no fraction: give one above 0 and up to 1"),
    ],
)
def test_values_out_of_range_are_refused(words, message):
    with pytest.raises(PlanRefused) as refused:
        Target(*words)
    assert str(refused.value) == message
