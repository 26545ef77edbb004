"""The report: one self-contained HTML file, for screens of any width, dark or light, and for paper."""

import json
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from littlebig_calibration import report_charts as charts
from littlebig_calibration.certifying import SPLIT_SEED
from littlebig_calibration.curve import cascade_curve
from littlebig_calibration.diagnostics import MIN_CLASS_IMAGES, histograms, most_escalated, reliability
from littlebig_calibration.evidence import Calibration
from littlebig_calibration.evidence_json import write_text
from littlebig_calibration.outcomes import DecisionRule, Outcomes, outcomes, scores
from littlebig_calibration.report_words import explained
from littlebig_calibration.summary import COLUMNS, rows, verdict
from littlebig_calibration.table import PredictionTable


def write_report(
    calibration: Calibration, table: PredictionTable, path: Path, names: Sequence[str] | None = None
) -> None:
    """Write the report of a calibration.

    Args:
        calibration: the calibration.
        table: the table that it was made from.
        path: the HTML file.
        names: the classes' names, where they are known.

    Raises:
        EvidenceError: if the file cannot be written.
    """
    write_text(report(calibration, table, names), path)


def report(calibration: Calibration, table: PredictionTable, names: Sequence[str] | None = None) -> str:
    """The report's HTML text."""
    images = outcomes(table, calibration.little.name, calibration.big.name)
    curve = cascade_curve(images, DecisionRule(calibration.score, calibration.offset))
    drawing, frame = charts.curve_chart(calibration, charts.band(curve, _level(calibration)))
    template = Template(resources.files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    heading = {
        "little": calibration.little.name,
        "big": calibration.big.name,
        "data": calibration.data.name,
        "day": calibration.created.partition("T")[0],
    }
    return template.substitute(
        {name: escape(text) for name, text in heading.items()},
        verdict=escape(verdict(calibration)),
        notes="".join(f"<li>{escape(note[0].upper() + note[1:])}.</li>" for note in calibration.notes),
        table=_table(calibration),
        curve=drawing,
        legend=_legend(calibration),
        slider_max=len(calibration.curve.threshold) - 1,
        slider_start=charts.nearest_point(calibration.curve, calibration.chosen.escalation_rate.value),
        figures=_figures(calibration),
        points=json.dumps(charts.slider_points(calibration, frame)).replace("<", "\\u003c"),
        proof=_proof(calibration),
        tolerances=_tolerances(calibration),
        answers=_answers(calibration, images) if images.labelled else "",
        classes=_classes(calibration, images, names) if images.labelled else "",
        evidence=_evidence(calibration),
    )


def _level(calibration: Calibration) -> float:
    return 0.95 if calibration.guarantee is None else calibration.guarantee.confidence_level


def _section(heading: str, content: str, below: str = "") -> str:
    note = f"<p class='soft'>{below}</p>" if below else ""
    return f"<section><h2>{heading}</h2>{content}{note}</section>"


def _list(entries: Sequence[tuple[str, str]], kind: str = "") -> str:
    body = "".join(f"<div><dt>{explained(name)}</dt><dd>{escape(text)}</dd></div>" for name, text in entries)
    return f"<dl class='{kind}'>{body}</dl>"


def _grid(head: Sequence[str], body: Sequence[Sequence[str]], kind: str = "") -> str:
    """A table; cells are HTML. On a narrow screen each cell shows its column's name."""
    titles = "".join(f"<th scope='col'>{explained(name)}</th>" for name in head)
    lines = "".join(
        "<tr>" + "".join(f"<td data-name='{name}'>{cell}</td>" for name, cell in zip(head, row, strict=True)) + "</tr>"
        for row in body
    )
    return f"<table class='{kind}'><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>"


def _table(calibration: Calibration) -> str:
    filled = rows(calibration)
    columns = [name for name in COLUMNS if any(row[name] for row in filled)]
    return _grid(columns, [[escape(row[name]) for name in columns] for row in filled], "summary")


def _legend(calibration: Calibration) -> str:
    entries = [(charts.CURVE, "every threshold"), (charts.BAND, f"its {_level(calibration):.0%} interval")]
    if calibration.difference is not None:
        entries.append((charts.LITTLE, f"{calibration.little.name} alone"))
    entries.append((charts.BIG, f"{calibration.big.name} alone"))
    if calibration.paper is not None and calibration.paper.threshold is not None:
        entries.append((charts.PAPER, "paper's rule"))
    if calibration.rule != "paper" and calibration.chosen.threshold is not None:
        entries.append((charts.CHOSEN, "chosen"))
    return "".join(f"<li><i style='background:{colour}'></i>{escape(name)}</li>" for colour, name in entries)


def _figures(calibration: Calibration) -> str:
    """The places that the slider fills, in the order of `slider_points`."""
    entries = [("value", "threshold"), ("rate", "escalated"), ("difference", "against big")]
    entries += [("accuracy", "accuracy")] if calibration.accuracy_big is not None else []
    entries += [("cost", "cost per image"), ("saved", "saved")] if calibration.costs is not None else []
    return "".join(f"<div><dt>{explained(name)}</dt><dd id='{place}'></dd></div>" for place, name in entries)


def _proof(calibration: Calibration) -> str:
    proof = calibration.proof
    if proof is None:
        return ""
    entries = [
        ("certifying images", f"{proof.images:,}"),
        ("disagreement", f"{proof.disagreements / proof.images:.1%}, {proof.disagreements:,} images"),
        ("labels that decided", f"{proof.labels_used:,}"),
    ]
    if calibration.chosen.threshold is not None:
        entries += [
            ("lost", f"{proof.lost:,}"),
            ("won", f"{proof.won:,}"),
            ("p-value", f"{proof.p_value:.2g}"),
            ("error budget", f"{proof.level:.2g}"),
        ]
    return _section(
        "What the labels prove",
        _list(entries),
        "Where both models agree, a label cannot change their difference. Only the others decide.",
    )


def _tolerances(calibration: Calibration) -> str:
    if not calibration.tolerances:
        return ""
    costs = calibration.costs is not None
    body = [
        [
            "none" if each.max_accuracy_loss == 0 else f"{each.max_accuracy_loss:.1%}",
            "big only" if each.threshold is None else f"{each.threshold:.4f}",
            "100%" if each.threshold is None else f"{each.escalation_rate:.1%}",
            *([f"{each.cost_reduction:.1%}"] if each.cost_reduction is not None else [""] if costs else []),
        ]
        for each in calibration.tolerances
    ]
    head = ["loss allowed", "threshold", "escalated", *(["saved"] if costs else [])]
    note = "Each line is certified by itself, not all at once: decide which loss you accept before you look."
    return _section("Other tolerances", _grid(head, body), note)


def _answers(calibration: Calibration, images: Outcomes) -> str:
    right, big_right = images.little_label == images.labels, images.big_label == images.labels
    correct, wrong = histograms(scores(images, calibration.score), right)
    little, big = reliability(images.little_confidence, right), reliability(images.big_confidence, big_right)
    threshold = calibration.chosen.threshold
    drawn = charts.histogram_chart(correct.tolist(), wrong.tolist(), threshold, calibration.score)
    where = "" if threshold is None else ", below the chosen threshold (dashed)"
    return _section(
        f"Little's {calibration.score}, correct and wrong answers",
        f"{drawn}<ul class='legend'><li><i style='background:{charts.CORRECT}'></i>correct</li>"
        f"<li><i style='background:{charts.WRONG}'></i>wrong</li></ul>",
        f"A cascade works where wrong answers lie on the left{where}.",
    ) + _section(
        "Reliability of confidence",
        f"{charts.reliability_chart(little, big)}<ul class='legend'>"
        + "".join(
            f"<li><i style='background:{colour}'></i>{escape(name)}, {explained('calibration error')} {error:.3f}</li>"
            for colour, name, error in (
                (charts.LITTLE, calibration.little.name, little.error),
                (charts.BIG, calibration.big.name, big.error),
            )
        )
        + "</ul>",
        "A cascade needs confidences that rank images well. They need not lie on the diagonal.",
    )


def _classes(calibration: Calibration, images: Outcomes, names: Sequence[str] | None) -> str:
    threshold = calibration.chosen.threshold
    if threshold is None:
        return ""
    right, big_right = images.little_label == images.labels, images.big_label == images.labels
    classes = most_escalated(images.labels, scores(images, calibration.score) < threshold, right, big_right)
    if not classes:
        empty = f"<p>No class has the {MIN_CLASS_IMAGES} images that a rate needs.</p>"
        return _section("Classes that escalate most", empty)
    body = [
        [
            escape(names[row.label].split(",")[0] if names and row.label < len(names) else str(row.label)),
            f"{row.images}",
            f"<i style='width:{row.escalation_rate:.0%}'></i><b>{row.escalation_rate:.0%}</b> "
            f"<small>{row.interval[0] * 100:.0f}-{row.interval[1]:.0%}</small>",
            f"{row.little_accuracy:.0%}",
            f"{row.big_accuracy:.0%}",
        ]
        for row in classes
    ]
    head = ["class", "images", "escalated", "little correct", "big correct"]
    note = f"At the chosen threshold, of classes with {MIN_CLASS_IMAGES} images or more. A guarantee is about the mean."
    return _section("Classes that escalate most", _grid(head, body, "classes"), note)


def _evidence(calibration: Calibration) -> str:
    data = calibration.data
    entries = [
        ("images", f"{data.images:,}, {data.labelled_images:,} with a label, of {data.classes:,} classes"),
        ("planning images", f"{data.tuning_images:,}, drawn with seed {SPLIT_SEED}"),
        ("rule", calibration.rule),
        ("score", calibration.score),
        ("answer", calibration.answer),
        *([("decoding", data.decode)] if data.decode else []),
        ("created", f"{calibration.created}, littlebig {calibration.littlebig_version}"),
        *((source.name, f"SHA-256 {source.sha256}") for source in data.sources),
        *(
            (f"weights of {model.name}", f"SHA-256 {model.weights_sha256}")
            for model in (calibration.little, calibration.big)
            if model.weights_sha256
        ),
    ]
    return _list(entries, "evidence")
