"""The search's plot of accuracy against cost, as SVG: single models and the best cascades."""

from html import escape

from littlebig_calibration.searching import SearchResult
from littlebig_calibration.svg import BOTTOM, RIGHT, Axis, Frame, without_theme
from littlebig_calibration.table import counted

SINGLE, CASCADE, FRONT = "#5b3a8c", "#c8324a", "#4a5561"
# More names than this overlap; the table and the points' tooltips have them all.
MAX_NAMES = 12


def search_plot(result: SearchResult, unit: str, data: str, day: str) -> str:
    """Draw a search: hollow points are single models, filled points are cascades, the line is the Pareto front.

    Args:
        result: the search's result.
        unit: of the costs.
        data: name of the images.
        day: of the search.
    """
    shown = {option.name: option for option in (*result.singles, *result.best, *result.front)}.values()
    costs, accuracies = [option.cost for option in shown], [option.accuracy for option in shown]
    padding = (max(accuracies) - min(accuracies)) * 0.06 or 0.01
    frame = Frame(
        Axis(min(costs) / 1.2, max(costs) * 1.2, f"cost per image ({unit})", log=max(costs) > 10 * min(costs)),
        Axis(max(min(accuracies) - padding, 0), min(max(accuracies) + padding, 1), "accuracy", percent=True),
        width=760,
        height=480,
        title=f"Pairs by accuracy and cost: {counted(result.pairs, 'pair')} on {data}, {result.images:,} images, {day}",
    )
    shapes = [frame.line([(option.cost, option.accuracy) for option in result.front], FRONT, dashed=True)]
    shapes.append(
        f'<text x="{frame.width - RIGHT - 4}" y="{frame.height - BOTTOM - 10}" text-anchor="end" fill="#55606b">'
        "hollow: single models, filled: cascades</text>"
    )
    for option in shown:
        title = f"{option.name}: {option.accuracy:.2%} for {option.cost:.4g}"
        if option.little is None:
            shapes.append(frame.dot(option.cost, option.accuracy, SINGLE, title, hollow=True))
        else:
            shapes.append(frame.dot(option.cost, option.accuracy, CASCADE, title))
    for option in shown if len(shown) <= MAX_NAMES else ():
        x, y = frame.px(option.cost), frame.py(option.accuracy)
        side = ("end", -9) if x > frame.width / 2 else ("start", 9)
        shapes.append(f'<text x="{x + side[1]}" y="{y + 15}" text-anchor="{side[0]}">{escape(option.name)}</text>')
    return without_theme(frame.drawing(shapes, "accuracy against cost of single models and cascades")) + "\n"
