"""The report's plots as SVG: medians as bars or lines, intervals as whiskers."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from littlebig_benchmarks.figures import Figure, exceeds_bound, figure, of_measure, share_of_bound
from littlebig_benchmarks.measuring import IN_PROCESS
from littlebig_benchmarks.report import gate_cpu, server_cpu
from littlebig_benchmarks.rounds import Case, Measures
from littlebig_benchmarks.scenario import Scenario
from littlebig_benchmarks.suite import Results
from littlebig_contract.stages import STAGES

Rounds = Mapping[Case, Sequence[Measures]]
# Okabe and Ito's palette, for readers with colour blindness.
_COLOURS = {
    "little": "#56b4e9",
    "big": "#cc79a7",
    "little_big": "#0072b2",
    "textbook": "#e69f00",
    IN_PROCESS: "#999999",
}
# Inches.
_HEIGHTS = {"throughput": 5.0, "front-door": 2.2, "latency": 7.4, "request-rate": 4.6, "gate-alone": 5.0}
_BOUND, _OTHER = "#dddddd", "#009e73"


def draw(results: Results, scenario: Scenario, folder: Path) -> list[Path]:
    """Draw the parts that were measured.

    Args:
        results: from `suite.run`.
        scenario: its settings.
        folder: for the files.

    Returns:
        The files written.
    """
    # Text stays text; the same results give the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "littlebig", "font.size": 10})
    written = []
    for name, title, drawing, rounds in (
        ("throughput", "Throughput", _throughput, results.throughput),
        ("front-door", "The front door: JPEG files beside canonical images", _front_door, results.front_door),
        ("latency", "Latency of sure and of unsure images", _latency, results.latency),
        ("request-rate", "Latency by request rate", _request_rate, results.rates),
        ("gate-alone", "The gate alone", _gate_alone, results.gate),
    ):
        if not rounds:
            continue
        canvas = Canvas(figsize=(7.5, _HEIGHTS[name]), layout="constrained")
        axes = canvas.subplots()
        drawing(rounds, scenario, axes)
        canvas.suptitle(f"{title}\n{_about(results.machine)}", x=0.01, ha="left", size=10, color="#333333")
        axes.spines[["top", "right"]].set_visible(False)
        path = folder / f"{name}.svg"
        file = io.StringIO()
        # A white background, for dark pages.
        canvas.savefig(file, format="svg", facecolor="white", metadata={"Date": None})
        path.write_text(_compact(file.getvalue()), encoding="utf-8")
        written.append(path)
    return written


def _about(machine: Mapping[str, str]) -> str:
    """The pair, the machine and the day, as far as they are known."""
    processor = machine.get("processor", "")
    cores = f"{machine['cores']} cores of {processor}" if "cores" in machine else processor
    return ", ".join(filter(None, (machine.get("pair", ""), cores, machine.get("measured", ""))))


def _compact(svg: str) -> str:
    """The same drawing without metadata, comments and line breaks inside elements: one line per part of the axes."""
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<\?xml.*?\?>|<!DOCTYPE.*?>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*\n\s*", " ", svg).replace("> <", "><").strip()
    return re.sub(r'(?=<g id="(?:axes|patch|matplotlib\.axis|LineCollection|text)_\d+")', "\n", svg) + "\n"


def _throughput(rounds: Rounds, scenario: Scenario, axes: Axes) -> None:
    concurrency = scenario.concurrency[-1]
    little, big = (rounds[Case(stage, None, concurrency)] for stage in STAGES)
    bars = [
        (name, of_measure(runs, "images_per_second", scenario.stability), _colour(name))
        for name, runs in (("little", little), ("big", big))
    ]
    for escalation in scenario.escalations:
        cases = {
            case.contender: runs
            for case, runs in rounds.items()
            if case == Case(case.contender, escalation, concurrency)
        }
        shares = {name: share_of_bound(runs, little, big, scenario.stability) for name, runs in cases.items()}
        kind = "estimated bound" if exceeds_bound(share for share, _ in shares.values()) else "bound"
        bars.append((f"{kind}, {escalation:.0%} escalated", shares["little_big"][1], _BOUND))
        for name, runs in cases.items():
            result = of_measure(runs, "images_per_second", scenario.stability)
            bars.append((f"{name}, {escalation:.0%}", result, _colour(name)))
    _bars(axes, bars)
    axes.set_xlabel(f"images/s, concurrency {concurrency}")


def _front_door(rounds: Rounds, scenario: Scenario, axes: Axes) -> None:
    bars = [
        (case.contender, of_measure(runs, "images_per_second", scenario.stability), _colour(case.contender))
        for case, runs in rounds.items()
    ]
    _bars(axes, bars)
    axes.set_xlabel(f"images/s, concurrency {scenario.concurrency[-1]}")


def _latency(rounds: Rounds, scenario: Scenario, axes: Axes) -> None:
    bars = []
    for case, runs in rounds.items():
        load = f"concurrency {case.concurrency}" if case.concurrency else f"{case.request_rate:.0f}/s"
        for kind in ("sure", "unsure"):
            if case.contender == "little" and kind == "unsure":
                continue  # little treats both alike
            result = of_measure(runs, f"{kind}_p50_ms", scenario.stability)
            bars.append((f"{case.contender}, {load}, {kind}", result, _colour(case.contender)))
    _bars(axes, bars)
    axes.set_xlabel("median latency, ms")


def _request_rate(rounds: Rounds, scenario: Scenario, axes: Axes) -> None:
    for name in dict.fromkeys(case.contender for case in rounds):
        for measure, style in (("p50_ms", "o-"), ("p99_ms", "o--")):
            points = [
                (case.request_rate or 0.0, of_measure(runs, measure, scenario.stability))
                for case, runs in rounds.items()
                if case.contender == name
            ]
            drawn = [(rate, result) for rate, result in points if not result.unstable]
            if drawn:
                axes.errorbar(
                    [rate for rate, _ in drawn],
                    [result.median for _, result in drawn],
                    yerr=_whiskers([result for _, result in drawn]),
                    fmt=style,
                    color=_colour(name),
                    capsize=3,
                    label=f"{name}, {measure.removesuffix('_ms')}",
                )
    axes.set_xlabel("request rate, 1/s")
    axes.set_ylabel("latency, ms")
    axes.set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)


def _gate_alone(rounds: Rounds, scenario: Scenario, axes: Axes) -> None:
    bars = []
    for case, runs in rounds.items():
        load, stability = f"concurrency {case.concurrency}", scenario.stability
        if case.contender == "little":
            bars.append((f"no gate, {load}", figure(server_cpu(runs), [runs], stability), _BOUND))
            continue
        everything = figure(server_cpu(runs), [runs], stability)
        bars.append((f"{case.contender}, {load}", everything, _colour(case.contender)))
        own = figure(gate_cpu(runs, case.contender), [runs], stability)
        bars.append((f"{case.contender}, {load}, the gate's processes", own, _colour(case.contender)))
    _bars(axes, bars, digits=2)
    axes.set_xlabel("the server's CPU ms per request, stages that do nothing")


def _bars(axes: Axes, bars: Sequence[tuple[str, Figure, str]], digits: int = 0) -> None:
    """Horizontal bars, first on top; an unstable figure has the word in place of its bar."""
    for place, (_, result, colour) in enumerate(bars):
        if result.unstable:
            _beside(axes, 0, place, "unstable", color="#555555")
            continue
        axes.barh(place, result.median, xerr=_whiskers([result]), color=colour, ecolor="#333333", capsize=3)
        _beside(axes, result.interval[1], place, f"{result.median:.{digits}f}", color="black")
    axes.set_yticks(range(len(bars)), [name for name, _, _ in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlim(left=0)


def _beside(axes: Axes, right_of: float, place: int, text: str, color: str) -> None:
    """Text right of a point, clear of a whisker that ends there. An SVG would drop spaces before the text."""
    axes.annotate(text, (right_of, place), xytext=(6, 0), textcoords="offset points", va="center", color=color)


def _whiskers(figures: Sequence[Figure]) -> list[list[float]]:
    below = [figure.median - figure.interval[0] for figure in figures]
    return [below, [figure.interval[1] - figure.median for figure in figures]]


def _colour(name: str) -> str:
    return _COLOURS.get(name, _OTHER)
