"""promtool runs the rules: every alert fires in its scenario and in no other, every record has its value.

The file as it is at a scrape a minute; at a scrape every 15 s, both the file and what the chart makes of it.
"""

import json
import re
import shutil
import subprocess
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.unit.rules.scenarios import LONG, NUMBER, SCENARIOS, Scenario

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy" / "helm" / "littlebig" / "files" / "rules.yaml"
HEALTHY_SERVER = "a healthy server"
RUNBOOK = ROOT / "docs" / "runbook.md"

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool (Debian: apt-get install prometheus)"
)


def alerts() -> dict[str, str]:
    """Each alert's lines in the file, by its name; the file's own layout needs no YAML parser."""
    _, *parts = re.split(r"^      - alert: ", RULES.read_text(), flags=re.MULTILINE)
    return {part.split("\n", 1)[0]: part for part in parts}


def rules_for(folder: Path, scrape: int) -> Path:
    """The rules as the chart renders them for an interval between scrapes; tests/unit/chart compares both."""
    text = RULES.read_text().replace("240s", f"{4 * scrape}s").replace("300s", f"{4 * scrape + 60}s")
    file = folder / "rules.yaml"
    file.write_text(text)
    return file


def promtool(folder: Path, rules: Path, scenario: Scenario, scrape: int, **checks: object) -> CompletedProcess[str]:
    """Check a scenario; promtool reads YAML, and JSON is YAML."""
    interval = f"{scrape}s"
    test = {"interval": interval, "input_series": scenario.input_series(scrape), **checks}
    file = folder / "test.yaml"
    # Evaluations are what takes promtool long.
    evaluation = f"{4 * scrape}s" if scenario.minutes >= LONG else interval
    file.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": evaluation, "tests": [test]}))
    return subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)  # noqa: S607


def assert_passes(result: CompletedProcess[str]) -> None:
    assert result.returncode == 0, result.stdout + result.stderr


@needs_promtool
def test_the_file_is_well_formed():
    result = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, text=True, check=False)  # noqa: S607
    assert "SUCCESS: 40 rules found" in result.stdout, result.stdout + result.stderr


def fast_and_slow() -> list[object]:
    """All scenarios at a scrape a minute; those of six hours are slow if they fire nothing, apart from the healthy server."""
    return [
        name
        if scenario.minutes < LONG or scenario.fires or name == HEALTHY_SERVER
        else pytest.param(name, marks=pytest.mark.slow)
        for name, scenario in SCENARIOS.items()
    ]


# Those that the length of a window decides.
WINDOWS = ("one process of the gate is dead", "the gate died and Kubernetes restarted it", "big fails for a moment")


def at_15_seconds() -> list[object]:
    """The scenarios of minutes, which take promtool four times as long as at a scrape a minute."""
    names = [name for name, scenario in SCENARIOS.items() if scenario.minutes < LONG]
    return [name if name in WINDOWS else pytest.param(name, marks=pytest.mark.slow) for name in names]


def check_alerts(folder: Path, rules: Path, scenario: Scenario, scrape: int) -> None:
    """Assert that a scenario's alerts fire at its end, with their descriptions, and no others."""
    firing = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in scenario.fires]
    check = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{scenario.minutes}m",
        "exp_samples": firing,
    }
    # promtool prints alerts that are not expected, with their descriptions; this is the only failure.
    at = {"eval_time": f"{scenario.minutes}m", "exp_alerts": []}
    described = [{**at, "alertname": alert} for alert in scenario.fires]
    result = promtool(folder, rules, scenario, scrape, promql_expr_test=[check], alert_rule_test=described)
    if not scenario.fires:
        assert_passes(result)
    assert "expr:" not in result.stderr, result.stderr
    for description in scenario.fires.values():
        pattern = re.escape(f'description="{description}"').replace(re.escape(NUMBER), r"[\d.]+")
        assert re.search(pattern, result.stderr), result.stderr


@needs_promtool
@pytest.mark.parametrize("name", fast_and_slow())
def test_each_scenario_fires_its_alert_with_its_description_and_no_other(tmp_path, name):
    check_alerts(tmp_path, RULES, SCENARIOS[name], 60)


@needs_promtool
@pytest.mark.parametrize("name", at_15_seconds())
def test_the_charts_windows_fire_the_same_alerts_at_a_scrape_every_15_seconds(tmp_path, name):
    check_alerts(tmp_path, rules_for(tmp_path, 15), SCENARIOS[name], 15)


@needs_promtool
def test_the_file_itself_serves_shorter_intervals_too(tmp_path):
    check_alerts(tmp_path, RULES, SCENARIOS["one process of the gate is dead"], 15)


def test_every_alert_has_a_scenario():
    assert {alert for scenario in SCENARIOS.values() for alert in scenario.fires} == set(alerts())


@pytest.mark.parametrize("alert", alerts())
def test_every_alert_has_a_severity_a_summary_and_a_runbook_section(alert):
    lines = alerts()[alert]
    assert re.search(r"severity: (warning|critical)\n", lines)
    assert re.search(r"summary: \S", lines)
    assert f"runbook_url: https://littlebig.example/docs/runbook.md#{alert.lower()}\n" in lines
    assert f"\n## {alert}\n" in RUNBOOK.read_text()


@needs_promtool
def test_the_row_of_the_pools_shows_bigs_use_the_forwarded_images_and_failures(tmp_path):
    dashboard = json.loads((RULES.parent / "dashboard.json").read_text())
    (row,) = (panel for panel in dashboard["panels"] if panel["type"] == "row")
    shown = [target["expr"] for panel in row["panels"] for target in panel["targets"] if "gpu" not in target["expr"]]
    # FORWARDED and HEALTHY in scenarios.py: a server in each pool, 40 % of an instance of big, 21 images a second, 50 ms in big's
    # server, of which 5 in its queue, and no failure.
    values = [2, 0.4, 21, 21, 0.050, 0.005, 0, 0]
    checks = [
        {
            "expr": f"abs(sum({expr.replace('$namespace', '.*').replace('$job', '.*')}) - {value}) < bool 1e-9",
            "eval_time": "40m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for expr, value in zip(shown, values, strict=True)
    ]
    assert_passes(promtool(tmp_path, RULES, SCENARIOS["two pools"], 60, promql_expr_test=checks))


# Values for the healthy server; the arithmetic is in scenarios.py, above HEALTHY.
RECORDED = {
    "littlebig:cascade_images:rate5m": 100,
    "littlebig:unsure_images:rate5m": 20,
    "littlebig:escalation_rate:ratio5m": 0.2,
    "littlebig:cascade_images:increase1h": 360_000,
    "littlebig:unsure_images:increase1h": 72_000,
    'littlebig:stage_utilisation:instances5m{model="little"}': 25 * 0.010,
    'littlebig:stage_utilisation:instances5m{model="big"}': 10 * 0.040,
    'littlebig:stage_compute_seconds:per_image5m{model="little"}': 0.0025,
    'littlebig:stage_compute_seconds:per_image5m{model="big"}': 0.4 / 21,
    'littlebig:stage_queue_seconds:mean5m{model="little"}': 0.002,
    'littlebig:stage_queue_seconds:mean5m{model="big"}': 0.005,
    'littlebig:stage_queue_seconds:mean5m{model="little_big"}': 0.003,
    "littlebig:cost_saved:ratio5m": 1 - 0.0025 / (0.4 / 21) - 0.21,
    "littlebig:big_failures:ratio": 0,
    "littlebig:little_failures:ratio": 0,
    **{
        f"littlebig:failed_images:{kind}{window}": 0
        for kind in ("rate", "ratio")
        for window in ("5m", "30m", "1h", "6h")
    },
    "littlebig:error_budget:ratio": 0.001,
    "littlebig:latency_objective:seconds": 1,
    "littlebig:latency_exceeded:bool": 0,
    'littlebig:stage_latency_seconds:mean5m{model="little"}': 0.014,
    'littlebig:image_latency_seconds:mean5m{image="sure"}': 0.003 + 0.014,
    'littlebig:image_latency_seconds:mean5m{image="unsure"}': 0.003 + 0.014 + 0.050,
    'littlebig:queue_wait_seconds:mean5m{model="little_big"}': 0.04,
    'littlebig:queue_wait_seconds:mean5m{model="big"}': 0.1,
    "littlebig:audits:increase6h": 21_600,
    "littlebig:audit_disagreements:increase6h": 864,
}


def test_every_record_is_checked():
    records = set(re.findall(r"- record: (\S+)", RULES.read_text()))
    assert {name.partition("{")[0] for name in RECORDED} == records


@needs_promtool
def test_every_record_has_the_value_that_the_counters_give(tmp_path):
    checks = [
        {
            "expr": f"abs(sum({name}) - {value!r}) < bool 1e-9 * {max(value, 1)!r}",
            "eval_time": "400m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for name, value in RECORDED.items()
    ]
    assert_passes(promtool(tmp_path, RULES, SCENARIOS[HEALTHY_SERVER], 60, promql_expr_test=checks))
