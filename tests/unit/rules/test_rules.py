"""The rules as promtool sees them: every alert fires in its scenario and in no other, every record has its value."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.rules.scenarios import SCENARIOS, Scenario

ROOT = Path(__file__).parents[3]
RULES = ROOT / "deploy" / "helm" / "littlebig" / "files" / "rules.yaml"
RUNBOOK = ROOT / "docs" / "runbook.md"
DESCRIPTIONS = [(name, alert) for name, scenario in SCENARIOS.items() for alert in scenario.fires]

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool (Debian: apt-get install prometheus)"
)


def alerts() -> dict[str, str]:
    """Name -> its lines of the file; YAML needs no parser where only our own lay-out is read."""
    _, *parts = re.split(r"^      - alert: ", RULES.read_text(), flags=re.MULTILINE)
    return {part.split("\n", 1)[0]: part for part in parts}


def promtool(folder: Path, scenario: Scenario, **checks: object) -> subprocess.CompletedProcess[str]:
    """Judge a scenario; promtool reads YAML, and JSON is YAML."""
    test = {"interval": "30s", "input_series": scenario.input_series(), **checks}
    file = folder / "test.yaml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "30s", "tests": [test]}))
    return subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False)  # noqa: S607


def assert_passes(result: subprocess.CompletedProcess[str]) -> None:
    assert result.returncode == 0, result.stdout + result.stderr


@needs_promtool
def test_the_file_is_well_formed():
    result = subprocess.run(["promtool", "check", "rules", RULES], capture_output=True, text=True, check=False)  # noqa: S607
    assert "SUCCESS: 20 rules found" in result.stdout, result.stdout + result.stderr


@needs_promtool
@pytest.mark.parametrize("name", SCENARIOS)
def test_in_each_scenario_its_alert_fires_and_no_other(tmp_path, name):
    scenario = SCENARIOS[name]
    firing = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in scenario.fires]
    check = {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{scenario.minutes}m",
        "exp_samples": firing,
    }
    assert_passes(promtool(tmp_path, scenario, promql_expr_test=[check]))


def test_every_alert_has_a_scenario():
    assert {alert for scenario in SCENARIOS.values() for alert in scenario.fires} == set(alerts())


@needs_promtool
@pytest.mark.parametrize(("name", "alert"), DESCRIPTIONS)
def test_an_alert_says_what_is_wrong_and_where(tmp_path, name, alert):
    scenario = SCENARIOS[name]
    wrong = {"eval_time": f"{scenario.minutes}m", "alertname": alert, "exp_alerts": []}
    said = promtool(tmp_path, scenario, alert_rule_test=[wrong]).stderr
    assert f'description="{scenario.fires[alert]}"' in said


@pytest.mark.parametrize("alert", alerts())
def test_every_alert_has_a_severity_a_summary_and_its_section_of_the_runbook(alert):
    lines = alerts()[alert]
    assert re.search(r"severity: (warning|critical)\n", lines)
    assert re.search(r"summary: \S", lines)
    assert f"runbook_url: docs/runbook.md#{alert.lower()}\n" in lines
    assert f"\n## {alert}\n" in RUNBOOK.read_text()


# (expression, value) of the well server; the arithmetic is in scenarios.py, above WELL.
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
    "littlebig:big_failures:ratio2m": 0,
    'littlebig:queue_wait_seconds:mean5m{model="little_big"}': 0.04,
    'littlebig:queue_wait_seconds:mean5m{model="big"}': 0.1,
    "littlebig:audits:increase6h": 21_600,
    "littlebig:audit_disagreements:increase6h": 864,
}


def test_every_record_is_checked():
    records = set(re.findall(r"- record: (\S+)", RULES.read_text()))
    assert {name.partition("{")[0] for name in RECORDED} == records


@needs_promtool
@pytest.mark.parametrize("name", RECORDED)
def test_a_record_has_the_value_that_the_counters_say(tmp_path, name):
    check = {
        "expr": f"abs(sum({name}) - {RECORDED[name]!r}) < bool 1e-9 * {max(RECORDED[name], 1)!r}",
        "eval_time": "400m",
        "exp_samples": [{"labels": "{}", "value": 1}],
    }
    assert_passes(promtool(tmp_path, SCENARIOS["all is well"], promql_expr_test=[check]))
