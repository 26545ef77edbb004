"""The autoscaler's rule over queues that a real server's metrics report."""

import functools
import re

import pytest
from tests.e2e.gate.conftest import serve_puppets
from tests.e2e.gate.puppets import UNSURE, until
from tests.unit.chart.autoscaler import SYNC, replay
from tests.unit.chart.helm import ROOT, find, find_helm, render

MINUTE = 60 // SYNC
METRIC = "nv_inference_pending_request_count"
# Pods at the start, and a sequence of (minutes, requests waiting in all gates): the scenarios of docs/kubernetes.md.
SCENARIOS = {
    "ramp": (2, [*((2, 16 * pods) for pods in range(2, 9)), (1, 128)]),
    "burst": (2, [(5, 0), (1, 200), (14, 0)]),
    "night": (8, [(2, 128), (28, 0)]),
}

pytestmark = [
    # tests/unit/chart replays the same scenarios with computed queues.
    pytest.mark.slow,
    pytest.mark.skipif(find_helm() is None, reason="needs helm: 'make test' installs it"),
]


@pytest.fixture(scope="module")
def spec():
    return find(render({"autoscaling": {"kind": "hpa"}}), "HorizontalPodAutoscaler")["spec"]


@pytest.fixture(scope="module")
def recorded(tiny_repository, tmp_path_factory):
    """recorded(n) -> waiting requests by model in the metrics, while n requests were sent and none was answered."""
    folder = tmp_path_factory.mktemp("recorded")
    gate_opens, little_works = folder / "go on", folder / "works"
    with serve_puppets(tiny_repository, folder / "models") as running:

        @functools.cache
        def record(count):
            for file in (gate_opens, little_works):
                file.unlink(missing_ok=True)
            running.set_behaviour("little", wait_for=str(gate_opens), announce=str(little_works))
            answered = []
            for number in range(count):
                running.send(UNSURE, on_response=lambda result, error: answered.append(error))
                if number == 0:  # the gate's only instance takes it and waits for little
                    until(little_works.exists, "little works")
            until(lambda: running.metric(METRIC, model="little_big") == max(count - 1, 0), f"{count} requests wait")
            waiting = {model: running.metric(METRIC, model=model) for model in ("little", "big", "little_big")}
            gate_opens.touch()
            until(lambda: len(answered) == count, "all are answered")
            assert set(answered) <= {None}
            return waiting

        yield record


@pytest.mark.parametrize("name", SCENARIOS)
def test_recorded_queues_lead_to_the_documented_numbers_of_pods(recorded, spec, name):
    pods, parts = SCENARIOS[name]
    series = [recorded(count) for minutes, count in parts for _ in range(minutes * MINUTE)]
    documented = (ROOT / "docs" / "kubernetes.md").read_text()
    row = re.search(rf"^\| {name} \|.*\| ([\d ]+) \|$", documented, re.MULTILINE)
    assert replay(spec, pods, series)[MINUTE - 1 :: MINUTE] == [int(number) for number in row[1].split()]
