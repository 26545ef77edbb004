"""The threshold control against a simulated big stage: a queue that is served at a fixed rate."""

import numpy as np
import pytest
from littlebig_overload import Backlog, ServiceRate, threshold_factor


class SimulatedCascade:
    """Uniform scores on [0, 1] at `rate` images/s, threshold 0.5, big answering `capacity` images/s."""

    def __init__(self, target, capacity):
        self.target, self.capacity = target, capacity
        self.measured, self.waiting = ServiceRate(), 0.0

    def run(self, rate, seconds, batch=0.02):
        """Waits and factors, a row each, one column per batch of `batch` seconds."""
        history, answered, busy = [], 0.0, 0.0
        for step in range(round(seconds / batch)):
            wait = self.measured.seconds_for(self.waiting)
            factor = threshold_factor(wait, self.target)
            history.append((wait, factor))
            self.waiting += rate * batch * 0.5 * factor
            done = min(self.waiting, self.capacity * batch)
            self.waiting -= done
            answered, busy = answered + done, busy + done / self.capacity
            if step % 5 == 4:  # the gate observes the rate ten times a second
                self.measured.observe(answered, busy)
                answered, busy = 0.0, 0.0
        return np.array(history).T


def test_without_a_target_no_threshold_is_lowered():
    assert threshold_factor(1e9, 0.0) == 1.0


def test_the_factor_falls_with_the_wait():
    factors = [threshold_factor(wait, 1.0) for wait in (0.0, 0.2, 0.35, 0.5, 5.0)]
    assert factors == pytest.approx([1.0, 1.0, 0.5, 0.0, 0.0])


def test_a_load_within_bigs_capacity_lowers_no_threshold():
    _, factor = SimulatedCascade(target=0.5, capacity=50).run(rate=90, seconds=30)
    assert (factor == 1.0).all()


@pytest.mark.parametrize("overload", [1.2, 1.5, 3.0])
def test_overload_settles_within_the_target_without_oscillation(overload):
    wait, factor = SimulatedCascade(target=0.5, capacity=50).run(rate=100 * overload, seconds=20)
    settled = slice(len(wait) // 2, None)
    assert wait.max() <= 0.5
    assert np.ptp(factor[settled]) < 0.02
    # It sheds no more than it must: big stays busy.
    assert factor[settled].mean() * overload == pytest.approx(1.0, abs=0.02)


def test_thresholds_are_restored_within_ten_seconds_after_overload():
    cascade = SimulatedCascade(target=0.5, capacity=50)
    cascade.run(rate=300, seconds=60)
    _, factor = cascade.run(rate=60, seconds=10)
    assert factor[-1] == 1.0


def test_a_hung_stage_counts_as_slow():
    rate = ServiceRate()
    rate.observe(50, 1.0)
    for _ in range(100):
        rate.observe(0, 0.1)
    assert rate.seconds_for(4) > 10


def test_no_images_take_no_time():
    rate = ServiceRate()
    assert rate.seconds_for(5) == 0.0
    rate.observe(10, 0.5)
    assert rate.seconds_for(0) == 0.0
    assert rate.seconds_for(10) == pytest.approx(0.5)


def test_a_lone_batch_has_not_waited():
    backlog = Backlog()
    backlog.batch_started(10.0)
    backlog.batch_ended(10.02, full=False)
    assert backlog.seconds(10.02) == pytest.approx(0.02)
    assert backlog.seconds(20.0) == 0.0


def test_a_batch_that_follows_at_once_has_waited_for_the_one_before():
    backlog = Backlog()
    backlog.batch_started(10.0)
    backlog.batch_ended(10.1, full=False)
    backlog.batch_started(10.1001)
    backlog.batch_ended(10.2001, full=False)
    assert backlog.seconds(10.2001) == pytest.approx(0.2, abs=1e-3)


def test_full_batches_in_a_row_add_to_the_backlog():
    backlog, now, waits = Backlog(), 0.0, []
    for _ in range(5):
        backlog.batch_started(now)
        now += 0.1
        backlog.batch_ended(now, full=True)
        waits.append(backlog.seconds(now))
    assert waits == sorted(waits)
    assert waits[-1] >= 0.5
    backlog.batch_started(now)
    backlog.batch_ended(now + 0.1, full=False)
    assert backlog.seconds(now + 0.1) == pytest.approx(0.2)
