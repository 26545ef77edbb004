"""The report: its content, and how it behaves in a real browser."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calibration_tables import labelled_where_they_differ, pair_table
from tests import chromium

from littlebig_calibration.calibrating import CalibrationSettings, calibrate
from littlebig_calibration.diagnostics import histograms, most_escalated, reliability
from littlebig_calibration.evidence import Calibration, Costs
from littlebig_calibration.report import report, write_report
from littlebig_calibration.table import NO_CLASS, PredictionTable

SETTINGS = CalibrationSettings(costs=Costs(1, 4, "GMACs"))


@pytest.fixture(scope="module")
def calibrated() -> tuple[Calibration, PredictionTable]:
    table = pair_table(4000)
    return calibrate(table, "small", "large", SETTINGS), table


@pytest.fixture
def page(browser: chromium.Page) -> chromium.Page:
    return browser


def shown(page: chromium.Page) -> dict[str, str]:
    names = ("value", "rate", "accuracy", "difference", "cost", "saved")
    return {name: page.value(f"document.getElementById('{name}').textContent") for name in names}


def move(page: chromium.Page, place: int) -> None:
    page.value(
        "{ const slider = document.getElementById('threshold'); "
        f"slider.value = {place}; slider.dispatchEvent(new Event('input')); }}"
    )


def test_slider_changes_the_figures(calibrated, page: chromium.Page, tmp_path: Path) -> None:
    calibration, table = calibrated
    write_report(calibration, table, tmp_path / "report.html")
    page.open((tmp_path / "report.html").as_uri(), 1280)
    assert calibration.chosen.threshold is not None
    assert calibration.chosen.cost is not None
    start = shown(page)
    assert start["value"] == f"{calibration.chosen.threshold:.4f}"
    assert start["rate"] == f"{calibration.chosen.escalation_rate.value:.1%}"
    assert start["accuracy"] == f"{calibration.chosen.accuracy.value:.2%}"
    assert start["cost"] == f"{calibration.chosen.cost:.4g} GMACs"

    ring = page.value("document.getElementById('now').getAttribute('cx')")
    move(page, 0)
    little = shown(page)
    assert (little["rate"], little["cost"]) == ("0.0%", "1 GMACs")
    assert little["accuracy"] == f"{calibration.accuracy_little.value:.2%}"
    assert page.value("document.getElementById('now').getAttribute('cx')") != ring
    move(page, 10_000)
    assert shown(page)["value"] == "all escalate"
    assert shown(page)["cost"] == "5 GMACs"


@pytest.mark.parametrize("width", [1280, 360])
def test_page_fits_the_screen_without_errors_or_network(
    calibrated, page: chromium.Page, tmp_path: Path, width: int
) -> None:
    write_report(*calibrated, tmp_path / "report.html")
    page.open((tmp_path / "report.html").as_uri(), width)
    move(page, 3)
    assert page.received("Runtime.exceptionThrown") == []
    assert page.received("Runtime.consoleAPICalled") == []
    assert page.received("Log.entryAdded") == []
    urls = [event["request"]["url"] for event in page.received("Network.requestWillBeSent")]
    assert urls[0] == (tmp_path / "report.html").as_uri()
    assert all(url.startswith("data:") for url in urls[1:])
    assert page.value("document.documentElement.scrollWidth") <= width
    assert page.value("document.querySelectorAll('svg').length") == 3


def test_report_refers_to_nothing_outside_itself(calibrated) -> None:
    text = report(*calibrated).replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert re.search(r"https?:|src=|@import|url\(", text) is None
    assert "$" not in text


def test_names_are_escaped() -> None:
    table = pair_table(500)
    evil = "</script><script>alert(1)</script>&'\""
    models = (replace(table.models[0], name=evil), table.models[1])
    named = replace(table, models=models, data_set=evil)
    costs = CalibrationSettings(costs=Costs(1, 4, evil))
    text = report(calibrate(named, evil, "large", costs), named)
    assert "<script>alert" not in text
    assert text.count("</script>") == 2


@pytest.mark.parametrize(
    "settings",
    [CalibrationSettings(rule="paper"), CalibrationSettings(max_escalation=0.2), CalibrationSettings()],
    ids=["paper", "cost target", "certified"],
)
@pytest.mark.parametrize("images", [150, 3000])
def test_every_rule_has_a_report_with_few_and_many_images(settings: CalibrationSettings, images: int) -> None:
    table = pair_table(images)
    calibration = calibrate(table, "small", "large", settings)
    text = report(calibration, table)
    assert ("Big only" in text) == (calibration.chosen.threshold is None)
    assert "id='cost'" not in text


def test_reliability_bins_equal_those_computed_by_hand() -> None:
    diagram = reliability(np.array([0.05, 0.95, 1.0, 0.95]), np.array([False, True, True, False]))
    assert diagram.images.tolist() == [1, 3]
    assert diagram.accuracy == pytest.approx([0, 2 / 3])
    assert diagram.confidence == pytest.approx([0.05, 2.9 / 3])
    assert diagram.error == pytest.approx((0.05 + 3 * (2.9 - 2) / 3) / 4)


def test_histograms_equal_those_computed_by_hand() -> None:
    good, bad = histograms(np.linspace(0, 1, 12, dtype=np.float32), np.array([True, False] * 6))
    assert (good.sum(), bad.sum()) == (6, 6)
    assert bad[-1] == 1


def test_classes_with_few_images_are_left_out_and_rates_have_intervals() -> None:
    labels = np.repeat([0, 2, 5, NO_CLASS], [40, 50, 29, 30])
    escalated = np.concatenate([np.arange(40) < 24, np.ones(50), np.ones(29), np.ones(30)]).astype(bool)
    right = np.arange(labels.size) % 2 == 0
    classes = most_escalated(labels, escalated, right, ~right)
    assert [(row.label, row.images, row.escalation_rate) for row in classes] == [(2, 50, 1.0), (0, 40, 0.6)]
    assert classes[1].little_accuracy == pytest.approx(0.5)
    assert classes[1].interval[0] < 0.6 < classes[1].interval[1]


def test_classes_have_their_names(calibrated) -> None:
    text = report(*calibrated, [f"name {label}, other" for label in range(10)])
    assert "<td data-name='class'>name 3</td>" in text
    assert "<td data-name='class'>3</td>" in report(*calibrated)


def test_big_only_shows_no_threshold_as_if_it_were_chosen() -> None:
    table = pair_table(150)
    calibration = calibrate(table, "small", "large", CalibrationSettings())
    text = report(calibration, table)
    assert calibration.chosen.threshold is None
    assert "chosen threshold" not in text.replace("Only the chosen threshold", "")
    assert "Classes that escalate most" not in text
    assert f'value="{len(calibration.curve.threshold) - 1}"' in text


def test_a_report_without_accuracies_shows_differences_only() -> None:
    table = labelled_where_they_differ(pair_table(4000))
    text = report(calibrate(table, "small", "large", CalibrationSettings()), table)
    assert 'id="accuracy"' not in text.replace("'", '"')
    assert "Reliability" not in text
    assert "What the labels prove" in text


def test_words_are_explained_where_the_pointer_rests(calibrated) -> None:
    text = report(*calibrated)
    for word in ("p-value", "lost", "won", "error budget", "bootstrap", "threshold"):
        assert re.search(rf'<abbr title="[^"]+" tabindex="0">{word}</abbr>', text), word
