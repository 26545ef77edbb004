import gc
from types import SimpleNamespace

import pytest
from littlebig_metrics import COUNTERS, GAUGES, Publisher, Tally


class Registry:
    """The part of Triton's metrics that the gate uses."""

    def __init__(self):
        self.values, self.messages, self.freed = {}, 0, []
        registry = self

        class Metric:
            def __init__(self, name, labels):
                self.key = (name, tuple(sorted(labels.items())))
                registry.values.setdefault(self.key, 0.0)  # shared by all objects with these labels

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


def test_every_counter_starts_at_zero(registry, publisher):
    publisher.publish(Tally())
    assert {name for name, _ in registry.values} == set(COUNTERS)
    assert set(registry.values.values()) == {0.0}


def test_only_counters_that_have_changed_are_published(registry, publisher):
    tally = Tally()
    publisher.publish(tally)
    for _ in range(5):
        tally.count("littlebig_images_total", 2, stage="little", reason="sure")
    publisher.publish(tally)
    assert registry["littlebig_images_total", {"model": "little_big", "stage": "little", "reason": "sure"}] == 10
    assert registry.messages == 1
    publisher.publish(tally)
    assert registry.messages == 1


def test_gauges_have_a_label_for_the_instance(registry, publisher):
    tally = Tally()
    tally.set_gauge("littlebig_batches_in_flight", 3)
    publisher.publish(tally)
    assert registry["littlebig_batches_in_flight", {"model": "little_big", "gate": "little_big_0_1"}] == 3


def test_a_gate_loaded_in_place_of_another_continues_its_metrics(registry):
    labels = {"model": "little_big", "stage": "little", "reason": "sure"}
    for threshold in (0.5, 0.9):
        gate, tally = Publisher(registry.pb_utils, "little_big", "little_big_0_1"), Tally()
        tally.set_gauge("littlebig_threshold", threshold, kind="configured")
        gate.publish(tally)
        tally.count("littlebig_images_total", 2, stage="little", reason="sure")  # published by close
        gate.close(tally)
    del gate
    gc.collect()
    assert registry["littlebig_images_total", labels] == 4
    assert (
        registry["littlebig_threshold", {"model": "little_big", "gate": "little_big_0_1", "kind": "configured"}] == 0.9
    )
    assert registry.freed == []  # Triton would free metrics that the other still writes to


def test_a_gate_that_fails_to_load_frees_no_metric_of_the_one_before(registry):
    serving, tally = Publisher(registry.pb_utils, "little_big", "little_big_0_1"), Tally()
    for gate in (serving, Publisher(registry.pb_utils, "little_big", "little_big_0_1")):
        gate.publish(tally)
    del gate  # without close: Triton finalizes a model only after a successful load
    gc.collect()
    assert registry.freed == []


def test_a_gauge_is_published_again_after_another_gate_has_set_it(registry):
    one, other = (Publisher(registry.pb_utils, "little_big", "little_big_0_1") for _ in range(2))
    of_one, of_other = Tally(), Tally()
    of_one.set_gauge("littlebig_batches_in_flight", 3)
    of_other.set_gauge("littlebig_batches_in_flight", 0)
    for gate, tally in ((one, of_one), (other, of_other), (one, of_one)):
        gate.publish(tally)
    assert registry["littlebig_batches_in_flight", {"model": "little_big", "gate": "little_big_0_1"}] == 3


def test_no_name_is_both_a_counter_and_a_gauge():
    assert not set(COUNTERS) & set(GAUGES)
