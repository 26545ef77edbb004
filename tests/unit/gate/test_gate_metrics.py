import gc
from types import SimpleNamespace

import pytest
from littlebig_metrics import COUNTERS, GAUGES, Publisher, Tally


class Registry:
    """Triton's metrics, as far as the gate uses them."""

    def __init__(self):
        self.values, self.messages, self.freed = {}, 0, []
        registry = self

        class Metric:
            def __init__(self, name, labels):
                self.key = (name, tuple(sorted(labels.items())))
                registry.values.setdefault(self.key, 0.0)  # the same for all objects with these labels

            def __del__(self):
                registry.freed.append(self.key)

            def increment(self, amount):
                registry.messages += 1
                registry.values[self.key] += amount

            def set(self, value):
                registry.messages += 1
                registry.values[self.key] = value

        class MetricFamily:
            COUNTER, GAUGE = "counter", "gauge"

            def __init__(self, name, description, kind):
                self.name = name

            def Metric(self, labels):  # noqa: N802 - Triton's name
                return Metric(self.name, labels)

        self.pb_utils = SimpleNamespace(MetricFamily=MetricFamily)

    def __getitem__(self, name_and_labels):
        name, labels = name_and_labels
        return self.values[name, tuple(sorted(labels.items()))]


@pytest.fixture
def registry():
    return Registry()


@pytest.fixture
def publisher(registry):
    return Publisher(registry.pb_utils, "little_big", "little_big_0_1")


def test_every_counter_is_there_at_zero_before_anything_happens(registry, publisher):
    publisher.publish(Tally())
    assert {name for name, _ in registry.values} == set(COUNTERS)
    assert set(registry.values.values()) == {0.0}


def test_sums_are_published_and_nothing_that_has_not_changed(registry, publisher):
    tally = Tally()
    publisher.publish(tally)
    for _ in range(5):
        tally.add("littlebig_images_total", 2, stage="little", reason="sure")
    publisher.publish(tally)
    assert registry["littlebig_images_total", {"model": "little_big", "stage": "little", "reason": "sure"}] == 10
    assert registry.messages == 1
    publisher.publish(tally)
    assert registry.messages == 1


def test_gauges_tell_the_instances_apart(registry, publisher):
    tally = Tally()
    tally.level("littlebig_batches_in_flight", 3)
    publisher.publish(tally)
    assert registry["littlebig_batches_in_flight", {"model": "little_big", "gate": "little_big_0_1"}] == 3


def test_a_gate_that_is_loaded_in_place_of_another_goes_on_with_its_metrics(registry):
    labels = {"model": "little_big", "stage": "little", "reason": "sure"}
    for threshold in (0.5, 0.9):
        gate, tally = Publisher(registry.pb_utils, "little_big", "little_big_0_1"), Tally()
        tally.level("littlebig_threshold", threshold, kind="configured")
        gate.publish(tally)
        tally.add("littlebig_images_total", 2, stage="little", reason="sure")  # not published before the end
        gate.close(tally)
    del gate
    gc.collect()
    assert registry["littlebig_images_total", labels] == 4
    assert (
        registry["littlebig_threshold", {"model": "little_big", "gate": "little_big_0_1", "kind": "configured"}] == 0.9
    )
    assert registry.freed == []  # Triton would free what the other still writes to


def test_a_gate_that_cannot_be_loaded_frees_nothing_that_the_one_before_writes_to(registry):
    serving, tally = Publisher(registry.pb_utils, "little_big", "little_big_0_1"), Tally()
    for gate in (serving, Publisher(registry.pb_utils, "little_big", "little_big_0_1")):
        gate.publish(tally)
    del gate  # without close, which Triton asks for only where the load went well
    gc.collect()
    assert registry.freed == []


def test_a_level_is_set_again_after_somebody_else_has_set_it(registry):
    one, other = (Publisher(registry.pb_utils, "little_big", "little_big_0_1") for _ in range(2))
    of_one, of_other = Tally(), Tally()
    of_one.level("littlebig_batches_in_flight", 3)
    of_other.level("littlebig_batches_in_flight", 0)
    for gate, tally in ((one, of_one), (other, of_other), (one, of_one)):
        gate.publish(tally)
    assert registry["littlebig_batches_in_flight", {"model": "little_big", "gate": "little_big_0_1"}] == 3


def test_no_name_is_both_a_counter_and_a_gauge():
    assert not set(COUNTERS) & set(GAUGES)
