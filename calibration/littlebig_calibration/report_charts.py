"""The report's charts, as SVG text."""

from __future__ import annotations

from littlebig_calibration.diagnostics import Reliability
from littlebig_calibration.evidence import Calibration, CurvePoints, Estimate, OperatingPoint
from littlebig_calibration.svg import Axis, Frame

LITTLE, BIG, CHOSEN, PAPER, CURVE = "#1b7f79", "#5b3a8c", "#c8324a", "#8a6d00", "#4a5561"
CORRECT, WRONG = "#2a6f97", "#e07a1f"
PERCENT = "{:.1%}".format


def cost_of(calibration: Calibration, escalation_rate: float) -> float:
    """A cascade's value on the cost axis: its cost, or its escalation rate where no costs were given."""
    costs = calibration.costs
    return escalation_rate if costs is None else costs.little + escalation_rate * costs.big


def curve_chart(calibration: Calibration) -> tuple[str, Frame]:
    """Accuracy against cost: the curve, with little, big, the paper's and the chosen point and their intervals.

    Returns:
        The drawing, and its frame. The report's script moves the ring with the id `now` within the frame.
    """
    costs, curve = calibration.costs, calibration.curve
    title = "escalation rate" if costs is None else f"cost per image ({costs.unit})"
    points: list[tuple[float, Estimate, str, str]] = [
        (cost_of(calibration, 0.0), calibration.accuracy_little, LITTLE, calibration.little.name),
        (1.0 if costs is None else costs.big, calibration.accuracy_big, BIG, calibration.big.name),
        (_cost(calibration, calibration.paper), calibration.paper.accuracy, PAPER, "paper's rule"),
    ]
    if calibration.rule != "paper":
        points.append((_cost(calibration, calibration.chosen), calibration.chosen.accuracy, CHOSEN, "chosen"))
    low = min(*curve.accuracy, *(estimate.low for _, estimate, _, _ in points))
    high = max(*curve.accuracy, *(estimate.high for _, estimate, _, _ in points))
    padding = (high - low) * 0.05
    frame = Frame(
        Axis(0.0, cost_of(calibration, 1.0) * 1.02, title, percent=costs is None),
        Axis(max(low - padding, 0), min(high + padding, 1), "accuracy", percent=True),
    )
    line = [
        (cost_of(calibration, rate), accuracy)
        for rate, accuracy in zip(curve.escalation_rate, curve.accuracy, strict=True)
    ]
    big = calibration.accuracy_big.value
    shapes = [
        frame.line([(frame.x.low, big), (frame.x.high, big)], BIG, dashed=True),
        frame.line(line, CURVE),
    ]
    for cost, estimate, colour, name in points:
        shapes.append(frame.whisker(cost, estimate.low, estimate.high, colour))
        shapes.append(frame.dot(cost, estimate.value, colour, f"{name}: {estimate.value:.2%}"))
    if calibration.rule == "certified" and calibration.chosen.escalation_if_repeated is not None and costs is None:
        shapes.append(
            frame.across(*calibration.chosen.escalation_if_repeated, calibration.chosen.accuracy.value, CHOSEN)
        )
    shapes.append('<circle id="now" r="7" fill="none" stroke="#111" stroke-width="2" visibility="hidden"/>')
    return frame.drawing(shapes, f"accuracy of the cascade against {title}"), frame


def _cost(calibration: Calibration, point: OperatingPoint) -> float:
    if point.cost is not None:
        return point.cost
    return cost_of(calibration, point.escalation_rate.value)


def histogram_chart(correct: list[int], wrong: list[int], threshold: float | None, score: str) -> str:
    """Little's confidences, correct answers stacked on wrong ones; with the threshold if the score is confidence."""
    bins = len(correct)
    total = sum(correct) + sum(wrong)
    tallest = max(good + bad for good, bad in zip(correct, wrong, strict=True)) / total
    frame = Frame(Axis(0, 1, "little's confidence"), Axis(0, tallest * 1.05, "share of images", percent=True))
    shapes = []
    for place, (good, bad) in enumerate(zip(correct, wrong, strict=True)):
        edges = (place / bins, (place + 1) / bins)
        label = f"confidence {edges[0]:.2f} to {edges[1]:.2f}: {good:,} correct, {bad:,} wrong"
        shapes.append(frame.bar(edges, (0, bad / total), WRONG, label))
        shapes.append(frame.bar(edges, (bad / total, (good + bad) / total), CORRECT, label))
    if threshold is not None and score == "confidence":
        shapes.append(frame.line([(threshold, 0), (threshold, frame.y.high)], CHOSEN, dashed=True))
    return frame.drawing(shapes, "histogram of little's confidences, correct and wrong answers")


def reliability_chart(little: Reliability, big: Reliability) -> str:
    """Accuracy against confidence of both models; on the diagonal they are equal."""
    frame = Frame(Axis(0, 1, "confidence"), Axis(0, 1, "accuracy", percent=True))
    shapes = [frame.line([(0, 0), (1, 1)], "#8a949e", dashed=True)]
    for model, colour in ((little, LITTLE), (big, BIG)):
        points = list(zip(model.confidence.tolist(), model.accuracy.tolist(), strict=True))
        shapes.append(frame.line(points, colour))
        for (x, y), images in zip(points, model.images.tolist(), strict=True):
            shapes.append(
                frame.dot(x, y, colour, f"{images:,} images: {y:.1%} correct at confidence {x:.2f}", radius=3.5)
            )
    return frame.drawing(shapes, "reliability diagram of both models")


def slider_points(calibration: Calibration, frame: Frame) -> list[list[float | str]]:
    """What the slider shows at each point of the curve.

    Returns:
        Per point: x and y in the drawing, then texts: threshold, escalation rate, accuracy, difference to big, cost and
        saving.
    """
    costs, curve, big = calibration.costs, calibration.curve, calibration.accuracy_big.value
    points: list[list[float | str]] = []
    for threshold, rate, accuracy in zip(curve.threshold, curve.escalation_rate, curve.accuracy, strict=True):
        cost = cost_of(calibration, rate)
        points.append(
            [
                frame.px(cost),
                frame.py(accuracy),
                "all escalate" if threshold is None else f"{threshold:.4f}",
                PERCENT(rate),
                f"{accuracy:.2%}",
                f"{(accuracy - big) * 100:+.2f} points",
                "" if costs is None else f"{cost:.4g} {costs.unit}",
                "" if costs is None else PERCENT(1 - cost / costs.big),
            ]
        )
    return points


def nearest_point(curve: CurvePoints, escalation_rate: float) -> int:
    """The index of the curve's point nearest to an escalation rate."""
    gaps = [abs(rate - escalation_rate) for rate in curve.escalation_rate]
    return gaps.index(min(gaps))
