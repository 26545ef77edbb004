"""The dashboard tells releases apart, counts no probes as traffic, and reads what the rules record."""

import json
import re
from pathlib import Path

import pytest

FILES = Path(__file__).parents[3] / "deploy" / "helm" / "littlebig" / "files"
TOP = json.loads((FILES / "dashboard.json").read_text())["panels"]
(POOLS,) = (panel for panel in TOP if panel["type"] == "row")
PANELS = [*(panel for panel in TOP if panel is not POOLS), *POOLS["panels"]]
BY_TITLE = {panel["title"]: panel for panel in PANELS}
TARGETS = [
    pytest.param(panel, target, id=f"{panel['title']}, {target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]
# Not per release: a count of alerts, and the score, which has a panel per release.
OF_ALL = ("Alerts firing", "Images by little's score: $job")


@pytest.mark.parametrize(("panel", "target"), TARGETS)
def test_every_legend_names_the_release_with_its_namespace(panel, target):
    if panel["title"] not in OF_ALL:
        assert target["legendFormat"].startswith("{{namespace}} {{job}}")


@pytest.mark.parametrize(("panel", "target"), TARGETS)
def test_every_label_of_a_legend_survives_the_aggregation(panel, target):
    labels = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
    for aggregated in re.findall(r"by \(([^)]*)\)", target["expr"]):
        assert labels <= set(aggregated.split(", "))


@pytest.mark.parametrize(("panel", "target"), TARGETS)
def test_every_record_exists(panel, target):
    recorded = set(re.findall(r"- record: (\S+)", (FILES / "rules.yaml").read_text()))
    assert set(re.findall(r"littlebig:[\w:]+", target["expr"])) <= recorded


def test_probes_are_counted_in_their_own_panel_alone():
    own = "Probes and images with a policy of their own"
    for panel in PANELS:
        for target in panel["targets"]:
            if "littlebig_images_total" in target["expr"]:
                assert ('reason="policy"' if panel["title"] == own else 'reason!="policy"') in target["expr"]


def test_scores_are_a_histogram_per_release_in_which_humps_can_be_seen():
    panel = BY_TITLE["Images by little's score: $job"]
    assert (panel["type"], panel["repeat"]) == ("heatmap", "job")
    (target,) = panel["targets"]
    # Grafana takes the differences of the cumulative buckets only in this format.
    assert target["format"] == "heatmap"
    assert "by (le)" in target["expr"]


def test_every_override_matches_a_legend_of_its_panel():
    matched = 0
    for panel in PANELS:
        legends = [target["legendFormat"] for target in panel["targets"]]
        for override in panel["fieldConfig"]["overrides"]:
            assert override["matcher"]["id"] == "byRegexp"
            assert [legend for legend in legends if re.search(override["matcher"]["options"].strip("/"), legend)]
            matched += 1
    assert matched == 4  # the dashed lines


def test_latency_and_gpu_use_have_panels():
    assert (
        "littlebig:image_latency_seconds:mean5m" in BY_TITLE["Latency of sure and unsure images"]["targets"][0]["expr"]
    )
    assert "nv_gpu_utilization" in BY_TITLE["GPU use"]["targets"][0]["expr"]


def test_panels_do_not_overlap_and_ids_are_unique():
    assert len({panel["id"] for panel in [*PANELS, POOLS]}) == len(PANELS) + 1
    cells = [
        (column, row)
        for panel in [*PANELS, POOLS]
        for column in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for row in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(column for column, _ in cells) < 24
