"""The simulation against what theory knows: queues with one server, closed loops, Little's law."""

from dataclasses import replace

import numpy as np
import pytest
from tests.planning import curve, curves

from littlebig_benchmarks.planning.arrivals import ClosedLoad, OpenLoad
from littlebig_benchmarks.planning.errors import PlanRefused
from littlebig_benchmarks.planning.simulation import Layout, simulate

MS = 1e-3


@pytest.mark.parametrize("busy", [0.3, 0.6, 0.85])
def test_one_instance_without_batching_waits_like_m_d_1(busy):
    made = curves(curve(1 * MS), curve(1 * MS), most=1)
    outcome = simulate(made, Layout("big"), OpenLoad(1000 * busy), 0.0, requests=100_000)
    waits = outcome.latencies.mean() * 1e3 - 1
    assert waits == pytest.approx(busy / 2 / (1 - busy), rel=0.06)
    assert outcome.busy == pytest.approx(busy, rel=0.02)


def test_two_instances_on_a_device_for_two_wait_less_than_one_that_is_twice_as_fast():
    """M/D/2 against M/D/1 at the same load: less waiting, longer service."""
    two = curves(curve(2 * MS), curve(2 * MS), most=1, instances=2, capacity=2.0)
    one = curves(curve(1 * MS), curve(1 * MS), most=1)
    pooled, single = (simulate(made, Layout("big"), OpenLoad(700), 0.0).latencies.mean() * 1e3 for made in (two, one))
    assert 0.5 * (single - 1) < pooled - 2 < single - 1


def test_two_instances_on_a_device_for_one_share_it_like_a_processor_sharing_queue():
    """M/G/1-PS would have a mean of 1/(1 - busy); with two at a time and a queue before them it is between PS and FIFO."""
    made = curves(curve(1 * MS), curve(1 * MS), most=1, instances=2, capacity=1.0)
    mean = simulate(made, Layout("big"), OpenLoad(600), 0.0, requests=50_000).latencies.mean() * 1e3
    assert 1 + 0.6 / 2 / 0.4 < mean < 1 / 0.4


@pytest.mark.parametrize("entry", ["cascade", "little", "big"])
def test_images_in_the_system_are_their_rate_times_their_time(entry):
    made = curves(curve(1 * MS, 0.3 * MS), curve(3 * MS, 1 * MS), gate=0.2 * MS, transport=0.5 * MS)
    outcome = simulate(made, Layout(entry), OpenLoad(200), 0.2)
    spent, end = (outcome.answered - outcome.sent).sum(), outcome.answered.max()
    assert outcome.mean_in_system == pytest.approx(spent / end, rel=1e-9)
    assert (outcome.answered > outcome.sent).all()


@pytest.mark.parametrize("escalation", [0.0, 0.15, 0.35, 1.0])
def test_many_clients_reach_the_bound_of_the_two_stages_and_never_exceed_it(escalation):
    """1/(T_little + r T_big), where a batch takes as much longer as it is larger and nothing else costs."""
    made = curves(curve(1 * MS, 1 * MS), curve(3 * MS, 3 * MS), instances=2)
    outcome = simulate(made, Layout(), ClosedLoad(64), escalation)
    bound = 1 / (1 * MS + escalation * 3 * MS)
    assert 0.97 * bound < outcome.images_per_second < 1.02 * bound


def test_one_client_gets_one_image_at_a_time():
    made = curves(curve(1 * MS), curve(3 * MS), gate=0.25 * MS, transport=0.5 * MS)
    outcome = simulate(made, Layout(), ClosedLoad(1), 0.5)
    assert set(np.round(outcome.latencies * 1e3, 6)) == {1.75, 4.75}
    assert (outcome.percentile(50, unsure=False), outcome.percentile(50, unsure=True)) == pytest.approx((1.75, 4.75))
    assert outcome.batch == {"little": 1.0, "big": 1.0, "little_big": 1.0}


def test_sure_images_do_not_wait_for_big():
    made = curves(curve(1 * MS), curve(50 * MS), capacity=2.0, in_flight=10_000)
    outcome = simulate(made, Layout(), OpenLoad(40), 0.3)
    assert outcome.percentile(99, unsure=False) < 3
    assert outcome.percentile(1, unsure=True) > 50


def test_batches_that_wait_for_big_hold_the_gate_when_there_are_too_many():
    made = curves(curve(1 * MS), curve(200 * MS), capacity=2.0, most=4, in_flight=1)
    free = curves(curve(1 * MS), curve(200 * MS), capacity=2.0, most=4, in_flight=10_000)
    held, not_held = (
        simulate(one, Layout(), OpenLoad(15), 0.1, requests=5000).percentile(90, unsure=False) for one in (made, free)
    )
    assert held > 50 * not_held


def test_a_lone_image_waits_for_the_whole_delay_and_a_full_batch_for_none_of_it():
    made = curves(curve(1 * MS), curve(1 * MS), most=8)
    lone = simulate(made, Layout("big", big_delay=5 * MS), ClosedLoad(1), 0.0, requests=100)
    assert lone.latencies * 1e3 == pytest.approx(6)
    full = simulate(made, Layout("big", big_delay=5 * MS), ClosedLoad(8), 0.0, requests=800)
    assert full.latencies * 1e3 == pytest.approx(1)
    assert full.batch == {"big": 8.0}


def test_requests_are_merged_up_to_the_preferred_size():
    batches = [
        simulate(
            curves(curve(1 * MS, 1 * MS), curve(1 * MS, 1 * MS), instances=2, capacity=2.0, preferred=size),
            Layout("big"),
            OpenLoad(3000),
            0.0,
        ).batch["big"]
        for size in (0, 2)
    ]
    assert batches[0] > 10
    assert batches[1] == pytest.approx(2, rel=0.01)


def test_a_stage_of_higher_priority_is_held_up_less():
    alike, light = (
        curves(curve(1 * MS), curve(20 * MS), kind="cpu", capacity=1.0, weight=weight, in_flight=10_000, instances=2)
        for weight in (1.0, 0.1)
    )
    first, second = (simulate(one, Layout(), OpenLoad(100), 0.3).percentile(50, False) for one in (alike, light))
    assert second < 0.8 * first


def test_the_gate_s_own_time_is_the_device_s_only_on_a_cpu():
    cpu, gpu = (curves(curve(1 * MS), curve(1 * MS), gate=1 * MS, kind=kind, instances=2) for kind in ("cpu", "gpu"))
    assert simulate(cpu, Layout(), OpenLoad(100), 0.0).busy > 1.5 * simulate(gpu, Layout(), OpenLoad(100), 0.0).busy


def test_the_gate_has_the_instances_that_were_measured_and_at_least_as_many_as_little():
    made = curves(curve(1 * MS), curve(1 * MS), gate=9 * MS, most=1, capacity=4.0, instances=3)
    for instances, little, rate in ((1, 1, 100), (3, 1, 300), (1, 2, 200), (3, 2, 300)):
        served = replace(made, gate=replace(made.gate, instances=instances))
        layout = Layout(little=little)
        assert layout.of(served).gate == max(instances, little)
        found = simulate(served, layout, ClosedLoad(16), 0.0, requests=1000)
        assert found.images_per_second == pytest.approx(rate, rel=0.05)


def test_the_same_seed_gives_the_same_outcome_and_another_one_another():
    made = curves(curve(1 * MS, 0.3 * MS), curve(3 * MS, 1 * MS))
    first, again, other = (simulate(made, Layout(), OpenLoad(300), 0.2, seed=seed) for seed in (1, 1, 2))
    assert (first.answered == again.answered).all()
    assert not np.array_equal(first.answered, other.answered)


def test_measured_scatter_lengthens_the_tail_and_not_the_mean_of_lone_images():
    scattered = curve(1 * MS)
    scattered.batches[1] = (0.5 * MS, 0.5 * MS, 0.5 * MS, 2.5 * MS)  # type: ignore[index]
    outcome = simulate(curves(scattered, scattered, most=1), Layout("big"), ClosedLoad(1), 0.0)
    assert outcome.latencies.mean() * 1e3 == pytest.approx(1, rel=0.05)
    assert outcome.percentile(99) > 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"layout": Layout("both")}, "there is no entry 'both': choose of cascade, little, big"),
        ({"escalation": 1.5}, "escalation 1.5 cannot be: choose a fraction from 0 to 1, such as 0.15"),
        ({"requests": 5}, "5 requests are too few for a percentile: give at least 100"),
    ],
)
def test_what_cannot_be_is_refused(words, message):
    made = curves(curve(1 * MS), curve(1 * MS))
    with pytest.raises(PlanRefused) as refused:
        simulate(**{"curves": made, "layout": Layout(), "load": OpenLoad(1), "escalation": 0.1, **words})
    assert str(refused.value) == message
