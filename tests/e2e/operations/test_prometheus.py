"""Rules and dashboard over a real server under load: every expression has the right value."""

import json
import time

import pytest
from tests.e2e.gate.conftest import serve_puppets
from tests.e2e.gate.puppets import SURE, UNSURE, until
from tests.e2e.operations.prometheus import CHART_FILES, Prometheus
from tritonclient.utils import InferenceServerException

# Scrapes a server for half a minute; tests/unit/rules checks the same expressions with promtool.
pytestmark = pytest.mark.slow

SETTINGS = {
    "threshold": 0.5,
    "on_big_failure": "little",
    "audit_rate": 1.0,
    "breaker_retry_ms": 100,
    "calibrated_escalation_low": 0.2,
    "calibrated_escalation_high": 0.3,
    "calibrated_disagreement": 0.02,
}
STAGES = ("little", "big")
BIG_SECONDS = 0.01
COUNTERS = (
    *("littlebig_images_total", "littlebig_image_errors_total", "littlebig_big_failures_total"),
    *("littlebig_audits_total", "nv_inference_compute_infer_duration_us", "nv_inference_queue_duration_us"),
    *("nv_inference_request_success", "nv_inference_exec_count", "nv_inference_count"),
)
# Relative tolerance: Prometheus extrapolates each series to the ends of a window, by half of some fourteen scrapes.
NEAR = 0.12


class Observed:
    """The effect of a load, in Prometheus and in the server's own counters before and after."""

    def __init__(self, prometheus, before, after):
        self.prometheus, self._before, self._after = prometheus, before, after

    def grown(self, name, **labels):
        """The increase of a counter, summed over its series with these labels."""
        return sum(
            value - self._before.get((counter, series), 0)
            for (counter, series), value in self._after.items()
            if counter == name and labels.items() <= dict(series).items()
        )


@pytest.fixture(scope="module")
def observed(tiny_repository, tmp_path_factory):
    """A quarter of the images unsure; then big fails, then it works again."""
    folder = tmp_path_factory.mktemp("observed")
    with serve_puppets(tiny_repository, folder / "models", **SETTINGS) as running:
        running.set_behaviour("little", seconds=BIG_SECONDS / 5)
        # Counters must exist at the first scrape and be well above 0, where Prometheus extrapolates less.
        _load(running, 2)
        running.set_behaviour("big", error="out of order")
        with pytest.raises(InferenceServerException):
            running.ask(SURE, parameters={"policy": "big"})
        running.ask(UNSURE)
        running.set_behaviour("big", seconds=BIG_SECONDS)
        until(lambda: running.ask(UNSURE) == [(1, 2)], "big answers again")
        until(lambda: running.metric("littlebig_audits_total") > 0, "an audit")
        until(lambda: running.metric("littlebig_images_total", reason="big_failed") > 0, "counters are published")
        before = running.series(COUNTERS)
        with Prometheus(folder, {"": running.server.metrics_url}) as prometheus:
            _load(running, 5)
            running.set_behaviour("big", error="out of order")
            _load(running, 2)
            with pytest.raises(InferenceServerException):
                running.ask(SURE, parameters={"policy": "big"})
            running.set_behaviour("big", seconds=BIG_SECONDS)
            _load(running, 5)
            after = until(lambda: _seen_by_both(prometheus, running), "Prometheus has seen it all")
            seen = time.time()
            # A rule that was evaluated before the last scrape lacks its values.
            until(lambda: prometheus.evaluated() > seen, "every rule is evaluated with the last scrape")
            yield Observed(prometheus, before, after)


def _seen_by_both(prometheus, running):
    """The server's counters, if Prometheus has the same ones; else None."""
    series = running.series(COUNTERS)
    pattern = "|".join(COUNTERS)
    scraped = [value for _, value in prometheus.query(f'{{__name__=~"{pattern}"}}')]
    return series if sorted(scraped) == sorted(series.values()) else None


def _load(running, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        running.ask(SURE, SURE, SURE, UNSURE)


def test_every_rule_is_evaluated_without_an_error(observed):
    rules = observed.prometheus.rules()
    assert len(rules) == 40
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}


def test_every_panel_shows_a_series(observed):
    dashboard = json.loads((CHART_FILES / "dashboard.json").read_text())
    # There is no GPU here; the row of the pools is in test_prometheus_pools.py.
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row" and panel["title"] != "GPU use"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    assert len(expressions) > 20
    expressions = [expression.replace("$namespace", ".*").replace("$job", ".*") for expression in expressions]
    assert [expression for expression in expressions if not observed.prometheus.query(expression)] == []


def test_the_escalation_rate_matches_the_load(observed):
    assert observed.prometheus.value("littlebig:escalation_rate:ratio5m") == pytest.approx(0.25, abs=0.02)


def test_image_counts_match_the_server(observed):
    images = observed.grown("littlebig_images_total")
    assert images > 100
    assert observed.prometheus.value("littlebig:cascade_images:increase1h") == pytest.approx(images, rel=NEAR)
    unsure = sum(observed.grown("littlebig_images_total", reason=reason) for reason in ("unsure", "big_failed"))
    assert observed.prometheus.value("littlebig:unsure_images:increase1h") == pytest.approx(unsure, rel=NEAR)


def computing(observed, stage):
    """Seconds per image. Triton adds a batch's time once for each request; here it counts once for each execution."""
    grown = {
        name: observed.grown(f"nv_inference_{name}", model=stage)
        for name in ("compute_infer_duration_us", "request_success", "exec_count", "count")
    }
    return grown["compute_infer_duration_us"] / 1e6 / grown["request_success"] * grown["exec_count"] / grown["count"]


@pytest.mark.parametrize("stage", STAGES)
def test_computing_time_per_image_matches_triton(observed, stage):
    record = f'littlebig:stage_compute_seconds:per_image5m{{model="{stage}"}}'
    assert observed.prometheus.value(record) == pytest.approx(computing(observed, stage), rel=NEAR)


@pytest.mark.parametrize("stage", STAGES)
def test_queue_time_matches_triton(observed, stage):
    waited = observed.grown("nv_inference_queue_duration_us", model=stage) / 1e6
    requests = observed.grown("nv_inference_request_success", model=stage)
    record = f'littlebig:stage_queue_seconds:mean5m{{model="{stage}"}}'
    assert observed.prometheus.value(record) == pytest.approx(waited / requests, rel=NEAR)


def test_cost_saved_matches_the_stages_times(observed):
    share = observed.grown("littlebig_images_total", reason="unsure") + sum(
        observed.grown("littlebig_audits_total", outcome=outcome) for outcome in ("agree", "disagree")
    )
    cascaded = observed.grown("littlebig_images_total") - observed.grown("littlebig_images_total", reason="policy")
    expected = 1 - computing(observed, "little") / computing(observed, "big") - share / cascaded
    assert observed.prometheus.value("littlebig:cost_saved:ratio5m") == pytest.approx(expected, abs=0.03)


def test_failures_and_audits_match_the_server(observed):
    assert observed.grown("littlebig_big_failures_total") > 0
    failed = sum(observed.grown("littlebig_big_failures_total", reason=reason) for reason in ("error", "timeout"))
    escalated = sum(observed.grown("littlebig_images_total", reason=reason) for reason in ("unsure", "big_failed"))
    escalated += observed.grown("littlebig_image_errors_total", stage="big")
    # A few failures at one moment before the breaker opens, so the ends of the window weigh more than above.
    assert observed.prometheus.value("littlebig:big_failures:ratio") == pytest.approx(failed / escalated, rel=4 * NEAR)
    audits = sum(observed.grown("littlebig_audits_total", outcome=outcome) for outcome in ("agree", "disagree"))
    assert audits > 0
    assert observed.prometheus.value("littlebig:audits:increase6h") == pytest.approx(audits, rel=0.2, abs=1)
    disagreements = observed.prometheus.value("littlebig:audit_disagreements:increase6h")
    assert disagreements == pytest.approx(observed.grown("littlebig_audits_total", outcome="disagree"), rel=0.2, abs=1)
