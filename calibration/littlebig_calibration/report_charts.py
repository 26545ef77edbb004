"""The report's charts, as SVG text. Colours are the page's CSS variables, so that they follow its theme."""

from dataclasses import dataclass

from littlebig_calibration._arrays import Array
from littlebig_calibration.curve import Curve, thin
from littlebig_calibration.diagnostics import Reliability
from littlebig_calibration.evidence import MAX_POINTS, Calibration, CurvePoints, OperatingPoint
from littlebig_calibration.exact import paired_interval
from littlebig_calibration.svg import Axis, Frame

LITTLE, BIG, CHOSEN, PAPER, CURVE, BAND = (
    f"var(--{name})" for name in ("little", "big", "chosen", "paperrule", "curve", "band")
)
CORRECT, WRONG = "var(--correct)", "var(--wrong)"
PERCENT = "{:.1%}".format


@dataclass(frozen=True)
class Band:
    """The cascade's accuracy minus big's along the curve, with the interval of each point by itself.

    Attributes:
        escalation_rate: float64 [k].
        low: float64 [k].
        high: float64 [k].
    """

    escalation_rate: Array
    low: list[float]
    high: list[float]


def band(curve: Curve, confidence_level: float) -> Band:
    """Compute the band at no more than 200 points."""
    kept = thin(curve, MAX_POINTS)
    ends = [
        paired_interval(lost, won, curve.images, confidence_level)
        for lost, won in zip(curve.lost[kept].tolist(), curve.won[kept].tolist(), strict=True)
    ]
    return Band(curve.escalated[kept] / curve.images, [low for low, _ in ends], [high for _, high in ends])


def cost_of(calibration: Calibration, escalation_rate: float) -> float:
    """A cascade's value on the cost axis: its cost, or its escalation rate where no costs were given."""
    costs = calibration.costs
    return escalation_rate if costs is None else costs.little + escalation_rate * costs.big


def curve_chart(calibration: Calibration, interval: Band) -> tuple[str, Frame]:
    """Accuracy against big's over cost: the curve in its band, with little, big, the paper's and the chosen point.

    Returns:
        The drawing, and its frame. The report's script moves the ring with the id `now` within the frame.
    """
    costs, curve = calibration.costs, calibration.curve
    title = "escalation rate" if costs is None else f"cost per image ({costs.unit})"
    points: list[tuple[float, float, str, str]] = [(1.0 if costs is None else costs.big, 0.0, BIG, "big alone")]
    if calibration.difference is not None:
        points.append((cost_of(calibration, 0.0), calibration.difference.value, LITTLE, "little alone"))
    if calibration.paper is not None and calibration.paper.threshold is not None:
        points.append(
            (_cost(calibration, calibration.paper), calibration.paper.difference.value, PAPER, "paper's rule")
        )
    if calibration.rule != "paper" and calibration.chosen.threshold is not None:
        points.append((_cost(calibration, calibration.chosen), calibration.chosen.difference.value, CHOSEN, "chosen"))
    low, high = min(*curve.difference, 0.0), max(*curve.difference, 0.0)
    # A wide band must not flatten the curve: it is cut where it leaves the picture.
    padding = max((high - low) * 0.15, 0.002)
    frame = Frame(
        Axis(0.0, cost_of(calibration, 1.0) * 1.02, title, percent=costs is None),
        Axis(100 * (low - padding), 100 * (high + padding), "accuracy against big, points"),
    )
    line = [
        (cost_of(calibration, rate), 100 * value)
        for rate, value in zip(curve.escalation_rate, curve.difference, strict=True)
    ]
    across = [cost_of(calibration, rate) for rate in interval.escalation_rate.tolist()]
    shapes = [
        frame.band(across, [100 * value for value in interval.low], [100 * value for value in interval.high], BAND),
        frame.line([(frame.x.low, 0.0), (frame.x.high, 0.0)], BIG, dashed=True),
        frame.line(line, CURVE),
    ]
    if calibration.guarantee is not None and calibration.guarantee.max_accuracy_loss:
        allowed = -100 * calibration.guarantee.max_accuracy_loss
        shapes.append(frame.line([(frame.x.low, allowed), (frame.x.high, allowed)], CHOSEN, dashed=True))
    shapes += [
        frame.dot(cost, 100 * value, colour, f"{name}: {100 * value:+.2f} points")
        for cost, value, colour, name in points
    ]
    shapes.append('<circle id="now" r="7" fill="none" stroke="var(--ink)" stroke-width="2" visibility="hidden"/>')
    return frame.drawing(shapes, f"accuracy of the cascade against big's, over {title}"), frame


def _cost(calibration: Calibration, point: OperatingPoint) -> float:
    return cost_of(calibration, point.escalation_rate.value) if point.cost is None else point.cost


def histogram_chart(correct: list[int], wrong: list[int], threshold: float | None, score: str) -> str:
    """Little's scores, correct answers stacked on wrong ones; with the threshold, if one was chosen."""
    bins = len(correct)
    total = sum(correct) + sum(wrong)
    tallest = max(good + bad for good, bad in zip(correct, wrong, strict=True)) / total
    frame = Frame(Axis(0, 1, f"little's {score}"), Axis(0, tallest * 1.05, "share of images", percent=True))
    shapes = []
    for place, (good, bad) in enumerate(zip(correct, wrong, strict=True)):
        edges = (place / bins, (place + 1) / bins)
        label = f"{score} {edges[0]:.2f} to {edges[1]:.2f}: {good:,} correct, {bad:,} wrong"
        shapes.append(frame.bar(edges, (0, bad / total), WRONG, label))
        shapes.append(frame.bar(edges, (bad / total, (good + bad) / total), CORRECT, label))
    if threshold is not None:
        shapes.append(frame.line([(threshold, 0), (threshold, frame.y.high)], CHOSEN, dashed=True))
    return frame.drawing(shapes, f"histogram of little's {score}, correct and wrong answers")


def reliability_chart(little: Reliability, big: Reliability) -> str:
    """Accuracy against confidence of both models; on the diagonal they are equal."""
    frame = Frame(Axis(0, 1, "confidence"), Axis(0, 1, "accuracy", percent=True))
    shapes = [frame.line([(0, 0), (1, 1)], "var(--axis)", dashed=True)]
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
        Per point: x and y in the drawing, then texts: threshold, escalation rate, difference to big, accuracy, cost and
        saving.
    """
    costs, curve, big = calibration.costs, calibration.curve, calibration.accuracy_big
    points: list[list[float | str]] = []
    for threshold, rate, difference in zip(curve.threshold, curve.escalation_rate, curve.difference, strict=True):
        cost = cost_of(calibration, rate)
        points.append(
            [
                frame.px(cost),
                frame.py(100 * difference),
                "all escalate" if threshold is None else f"{threshold:.4f}",
                PERCENT(rate),
                f"{difference * 100:+.2f} points",
                "" if big is None else f"{big.value + difference:.2%}",
                "" if costs is None else f"{cost:.4g} {costs.unit}",
                "" if costs is None else PERCENT(1 - cost / costs.big),
            ]
        )
    return points


def nearest_point(curve: CurvePoints, escalation_rate: float) -> int:
    """The index of the curve's point nearest to an escalation rate."""
    gaps = [abs(rate - escalation_rate) for rate in curve.escalation_rate]
    return gaps.index(min(gaps))
