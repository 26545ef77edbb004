"""The autoscaler's rule on what a real server's metrics said while so many requests waited in its gate."""

import functools
import re

import pytest
from tests.e2e.gate.puppets import UNSURE, until
from tests.unit.chart.autoscaler import SYNC, replay
from tests.unit.chart.helm import ROOT, find, find_helm, render

MINUTE = 60 // SYNC
METRIC = "nv_inference_pending_request_count"
# Pods at the start, and (minutes, requests that wait in all gates) after one another: the scenarios of docs/kubernetes.md.
SCENARIOS = {
    "ramp": (2, [*((2, 16 * pods) for pods in range(2, 9)), (1, 128)]),
    "burst": (2, [(5, 0), (1, 200), (14, 0)]),
    "night": (8, [(2, 128), (28, 0)]),
}

pytestmark = pytest.mark.skipif(find_helm() is None, reason="needs helm: 'make test' installs it")


@pytest.fixture(scope="module")
def spec():
    return find(render({"autoscaling": {"kind": "hpa"}}), "HorizontalPodAutoscaler")["spec"]


@pytest.fixture
def recorded(puppets, tmp_path):
    """recorded(n) -> requests that wait by model, as the metrics say while n requests were sent and none is answered."""
    gate_opens, little_works = tmp_path / "go on", tmp_path / "works"
    with puppets() as running:

        @functools.cache
        def record(count):
            for file in (gate_opens, little_works):
                file.unlink(missing_ok=True)
            running.set_behaviour("little", wait_for=str(gate_opens), announce=str(little_works))
            answered = []
            for number in range(count):
                running.send(UNSURE, on_response=lambda result, error: answered.append(error))
                if number == 0:  # the gate's one instance takes it, and waits for little with it
                    until(little_works.exists, "little works")
            until(lambda: running.metric(METRIC, model="little_big") == max(count - 1, 0), f"{count} requests wait")
            waiting = {model: running.metric(METRIC, model=model) for model in ("little", "big", "little_big")}
            gate_opens.touch()
            until(lambda: len(answered) == count, "all are answered")
            assert set(answered) <= {None}
            return waiting

        yield record


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_promised_numbers_of_pods_come_of_recorded_queues(recorded, spec, name):
    pods, parts = SCENARIOS[name]
    series = [recorded(count) for minutes, count in parts for _ in range(minutes * MINUTE)]
    documented = (ROOT / "docs" / "kubernetes.md").read_text()
    row = re.search(rf"^\| {name} \|.*\| ([\d ]+) \|$", documented, re.MULTILINE)
    assert replay(spec, pods, series)[MINUTE - 1 :: MINUTE] == [int(number) for number in row[1].split()]
