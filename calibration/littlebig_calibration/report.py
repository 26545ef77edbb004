"""The report: one self-contained HTML file, for screens of any width and for paper."""

from __future__ import annotations

import json
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from littlebig_calibration import report_charts as charts
from littlebig_calibration.diagnostics import histograms, most_escalated, reliability
from littlebig_calibration.evidence import Calibration
from littlebig_calibration.evidence_json import write_text
from littlebig_calibration.outcomes import Outcomes, outcomes, scores
from littlebig_calibration.summary import COLUMNS, rows, verdict
from littlebig_calibration.table import PredictionTable


def write_report(calibration: Calibration, table: PredictionTable, path: Path) -> None:
    """Write the report of a calibration.

    Args:
        calibration: the calibration.
        table: the table that it was made from.
        path: the HTML file.

    Raises:
        EvidenceError: if the file cannot be written.
    """
    write_text(report(calibration, table), path)


def report(calibration: Calibration, table: PredictionTable) -> str:
    """The report's HTML text."""
    images = outcomes(table, calibration.little.name, calibration.big.name)
    drawing, frame = charts.curve_chart(calibration)
    correct, wrong = histograms(images)
    little = reliability(images.little_confidence, images.little_correct)
    big = reliability(images.big_confidence, images.big_correct)
    shown = calibration.chosen if calibration.chosen.threshold is not None else calibration.paper
    name = "chosen" if shown is calibration.chosen else "paper's"
    template = Template(resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    names = {"little": calibration.little.name, "big": calibration.big.name, "data": calibration.data.name}
    return template.substitute(
        {name: escape(text) for name, text in names.items()},
        verdict=escape(verdict(calibration)),
        notes="".join(f"<li>{escape(note)}</li>" for note in calibration.notes),
        table=_table(calibration),
        curve=drawing,
        legend=_legend(calibration),
        slider_max=len(calibration.curve.threshold) - 1,
        slider_start=charts.nearest_point(calibration.curve, shown.escalation_rate.value),
        cost_rows="" if calibration.costs is None else _COST_ROWS,
        points=json.dumps(charts.slider_points(calibration, frame)).replace("<", "\\u003c"),
        histogram=charts.histogram_chart(correct.tolist(), wrong.tolist(), shown.threshold, calibration.score),
        histogram_note=f", below the {name} threshold (dashed)" if calibration.score == "confidence" else "",
        reliability=charts.reliability_chart(little, big),
        little_error=f"{little.error:.3f}",
        big_error=f"{big.error:.3f}",
        shown=name,
        classes=_classes(calibration, images, table, shown.threshold),
        evidence=_evidence(calibration),
    )


_COST_ROWS = '<div><dt>cost per image</dt><dd id="cost"></dd></div><div><dt>saved</dt><dd id="saved"></dd></div>'


def _table(calibration: Calibration) -> str:
    filled = rows(calibration)
    columns = [name for name in COLUMNS if any(row[name] for row in filled)]
    head = "".join(f"<th scope='col'>{name}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td data-name='{name}'>{escape(row[name])}</td>" for name in columns) + "</tr>"
        for row in filled
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _legend(calibration: Calibration) -> str:
    entries = [
        (charts.LITTLE, f"{calibration.little.name} alone"),
        (charts.BIG, f"{calibration.big.name} alone"),
        (charts.PAPER, "paper's rule"),
        (charts.CURVE, "every threshold"),
    ]
    if calibration.rule != "paper":
        entries.insert(3, (charts.CHOSEN, "chosen"))
    return "".join(f"<li><i style='background:{colour}'></i>{escape(name)}</li>" for colour, name in entries)


def _classes(calibration: Calibration, images: Outcomes, table: PredictionTable, threshold: float | None) -> str:
    if threshold is None:
        return "<p>Every image is escalated.</p>"
    classes = most_escalated(images, table.labels, scores(images, calibration.score) < threshold)
    if not classes:
        return "<p>No class has enough images for a rate.</p>"
    body = "".join(
        f"<tr><td>{row.label}</td><td>{row.images}</td>"
        f"<td class='bar'><i style='width:{row.escalation_rate:.0%}'></i>"
        f"<b>{row.escalation_rate:.0%}</b></td>"
        f"<td>{row.little_accuracy:.0%}</td><td>{row.big_accuracy:.0%}</td></tr>"
        for row in classes
    )
    head = "<th>class</th><th>images</th><th>escalated</th><th>little correct</th><th>big correct</th>"
    return f"<table class='classes'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _evidence(calibration: Calibration) -> str:
    data = calibration.data
    entries = [
        ("labelled images", f"{data.images:,} of {data.classes:,} classes"),
        ("of these, for tuning", f"{data.tuning_images:,}"),
        ("rule", calibration.rule),
        ("score", calibration.score),
        ("answer", calibration.answer),
        ("created", f"{calibration.created}, littlebig {calibration.littlebig_version}"),
        *((source.name, f"SHA-256 {source.sha256}") for source in data.sources),
        *(
            (f"weights of {model.name}", f"SHA-256 {model.weights_sha256}")
            for model in (calibration.little, calibration.big)
            if model.weights_sha256
        ),
    ]
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in entries)
