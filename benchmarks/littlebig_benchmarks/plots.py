"""The report's plots as SVG: medians as bars or lines, their intervals as whiskers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from littlebig_benchmarks.figures import Figure, figure, of_measure, share_of_bound
from littlebig_benchmarks.measuring import IN_PROCESS
from littlebig_benchmarks.report import gate_cpu, server_cpu
from littlebig_benchmarks.rounds import Case, Measures
from littlebig_benchmarks.scenario import Scenario
from littlebig_benchmarks.suite import Results

Rounds = Mapping[Case, Sequence[Measures]]
# Told apart by those who see no red or green (Okabe and Ito).
_COLOURS = {
    "little": "#56b4e9",
    "big": "#cc79a7",
    "little_big": "#0072b2",
    "textbook": "#e69f00",
    IN_PROCESS: "#999999",
}
# Inches: as many as the bars need.
_HEIGHTS = {"throughput": 4.6, "latency": 7.0, "offered-rate": 4.2, "gate-alone": 4.6}
_BOUND, _OTHER = "#dddddd", "#009e73"


def draw(results: Results, scenario: Scenario, folder: Path) -> list[Path]:
    """Draw what was measured and was stable.

    Args:
        results: from `suite.run`.
        scenario: that was measured.
        folder: where the files go.

    Returns:
        The files written.
    """
    # Text stays text; the same results give the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "littlebig", "font.size": 10})
    written = []
    for name, drawing, rounds in (
        ("throughput", _throughput, results.throughput),
        ("latency", _latency, results.latency),
        ("offered-rate", _offered_rate, results.rates),
        ("gate-alone", _gate_alone, results.gate),
    ):
        if not rounds:
            continue
        canvas = Canvas(figsize=(7.5, _HEIGHTS[name]), layout="constrained")
        axes = canvas.subplots()
        drawing(rounds, scenario, axes)
        axes.spines[["top", "right"]].set_visible(False)
        path = folder / f"{name}.svg"
        # White behind it, so that a dark page shows it too.
        canvas.savefig(path, facecolor="white", metadata={"Date": None})
        written.append(path)
    return written


def _throughput(rounds: Rounds, scenario: Scenario, axes: Axes) -> None:
    clients = scenario.concurrency[-1]
    little, big = rounds[Case("little", None, clients)], rounds[Case("big", None, clients)]
    bars = [
        (name, of_measure(runs, "images_per_second", scenario.stability), _colour(name))
        for name, runs in (("little", little), ("big", big))
    ]
    for escalation in scenario.escalations:
        cases = {
            case.contender: runs for case, runs in rounds.items() if case == Case(case.contender, escalation, clients)
        }
        _, limit = share_of_bound(cases["little_big"], little, big, scenario.stability)
        bars.append((f"bound, {escalation:.0%} escalated", limit, _BOUND))
        for name, runs in cases.items():
            found = of_measure(runs, "images_per_second", scenario.stability)
            bars.append((f"{name}, {escalation:.0%}", found, _colour(name)))
    _bars(axes, bars)
    axes.set_xlabel(f"images/s, {clients} clients")


def _latency(rounds: Rounds, scenario: Scenario, axes: Axes) -> None:
    bars = []
    for case, runs in rounds.items():
        load = f"{case.clients} client{'s' if case.clients > 1 else ''}" if case.clients else f"{case.rate:.0f}/s"
        for kind in ("sure", "unsure"):
            if case.contender == "little" and kind == "unsure":
                continue  # little treats both alike
            found = of_measure(runs, f"{kind}_p50_ms", scenario.stability)
            bars.append((f"{case.contender}, {load}, {kind}", found, _colour(case.contender)))
    _bars(axes, bars)
    axes.set_xlabel("median latency, ms")


def _offered_rate(rounds: Rounds, scenario: Scenario, axes: Axes) -> None:
    for name in dict.fromkeys(case.contender for case in rounds):
        for measure, style in (("p50_ms", "o-"), ("p99_ms", "o--")):
            points = [
                (case.rate or 0.0, of_measure(runs, measure, scenario.stability))
                for case, runs in rounds.items()
                if case.contender == name
            ]
            drawn = [(rate, found) for rate, found in points if not found.unstable]
            if drawn:
                axes.errorbar(
                    [rate for rate, _ in drawn],
                    [found.median for _, found in drawn],
                    yerr=_whiskers([found for _, found in drawn]),
                    fmt=style,
                    color=_colour(name),
                    capsize=3,
                    label=f"{name}, {measure.removesuffix('_ms')}",
                )
    axes.set_xlabel("images/s offered, at random times")
    axes.set_ylabel("latency, ms")
    axes.set_ylim(bottom=0)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)


def _gate_alone(rounds: Rounds, scenario: Scenario, axes: Axes) -> None:
    bars = []
    for case, runs in rounds.items():
        load, stability = f"{case.clients} clients", scenario.stability
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
    """Horizontal bars, first on top; what was not stable says so in the place of its bar."""
    for place, (_, found, colour) in enumerate(bars):
        if found.unstable:
            _beside(axes, 0, place, "unstable", color="#555555")
            continue
        axes.barh(place, found.median, xerr=_whiskers([found]), color=colour, ecolor="#333333", capsize=3)
        _beside(axes, found.interval[1], place, f"{found.median:.{digits}f}", color="black")
    axes.set_yticks(range(len(bars)), [name for name, _, _ in bars])
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.set_xlim(left=0)


def _beside(axes: Axes, right_of: float, place: int, text: str, color: str) -> None:
    """Text right of a point, clear of a whisker that ends there; spaces before it would be lost in an SVG."""
    axes.annotate(text, (right_of, place), xytext=(6, 0), textcoords="offset points", va="center", color=color)


def _whiskers(found: Sequence[Figure]) -> list[list[float]]:
    return [[one.median - one.interval[0] for one in found], [one.interval[1] - one.median for one in found]]


def _colour(name: str) -> str:
    return _COLOURS.get(name, _OTHER)
