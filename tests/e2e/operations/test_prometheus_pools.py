"""Rules and dashboard over two real servers, one of each pool, scraped as the chart's PodMonitor does."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from tests.e2e.gate.puppets import until
from tests.e2e.operations.prometheus import CHART_FILES, Prometheus
from tests.e2e.remote.conftest import exported, serve, started, write_split  # noqa: F401  (a fixture)

from littlebig_client import Client

pytest.importorskip("yaml", reason="needs PyYAML: pip install 'littlebig[test]'")

from tests.unit.chart.helm import find, find_helm, merged, render
from tests.unit.chart.matrix import MONITORED
from tests.unit.chart.test_pools import POOLS

pytestmark = [
    # Scrapes servers for half a minute.
    pytest.mark.slow,
    pytest.mark.skipif(find_helm() is None, reason="needs helm: 'make test' installs it"),
]

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)


def load(client, seconds):
    """Batches of eight images, every second batch unsure."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        client.classify_batch(IMAGES, threshold=0.0)
        client.classify_batch(IMAGES, threshold=1.0)


@pytest.fixture(scope="module")
def prometheus(exported, tmp_path_factory):  # noqa: F811
    """Prometheus, after a load during which big's server was killed at last."""
    folder = tmp_path_factory.mktemp("pools")
    (endpoint,) = find(render(merged(POOLS, MONITORED)), "PodMonitor")["spec"]["podMetricsEndpoints"]
    big = serve(exported / "big")
    with started(big):
        little = serve(write_split(exported, folder / "models", big.grpc_url))
        with started(little), Client(little.grpc_url) as client:
            load(client, 1)  # counters exist at the first scrape
            targets = {"little": little.metrics_url, "big": big.metrics_url}
            with Prometheus(folder, targets, endpoint["metricRelabelings"]) as scraping:
                load(client, 8)
                until(lambda: scraping.value("littlebig:cost_saved:ratio5m") is not None, "the rules have values")
                yield scraping, client, big


def test_each_pool_has_its_own_series_and_a_lost_big_is_the_pool_bigs(prometheus):
    scraping, client, big = prometheus
    dashboard = json.loads((CHART_FILES / "dashboard.json").read_text())
    (row,) = (panel for panel in dashboard["panels"] if panel["type"] == "row")
    # There is no GPU here.
    shown = [target["expr"] for panel in row["panels"] for target in panel["targets"] if "gpu" not in target["expr"]]
    shown = [expression.replace("$namespace", ".*").replace("$job", ".*") for expression in shown]
    assert [expression for expression in shown if not scraping.query(expression)] == []

    pools = {
        (labels["pool"], labels["model"])
        for labels, _ in scraping.query("littlebig:stage_queue_seconds:mean5m")
        if labels["model"] in ("little", "big", "little_big")
    }
    assert pools == {("little", "little"), ("little", "little_big"), ("big", "big")}
    forwarded, computed = (
        scraping.value(f'increase(nv_inference_count{{model="{model}"}}[5m])') for model in ("big_remote", "big")
    )
    assert forwarded == pytest.approx(computed, rel=0.2)  # the servers are not scraped at the same time

    big.kill()
    load(client, 2)
    failed = 'sum(increase(littlebig_big_failures_total{pool="little"}[5m]))'
    until(lambda: scraping.value(failed) > 0, "failures are counted")
    until(
        lambda: any(
            rule["name"] == "LittleBigDown" and [alert["labels"].get("pool") for alert in rule["alerts"]] == ["big"]
            for rule in scraping.rules()
            if "alerts" in rule
        ),
        "the alert names the pool big",
    )
