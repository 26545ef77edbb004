"""The paper's table: published beside measured reductions of multiply-accumulates."""

from littlebig_calibration.calibrating import CalibrationSettings, calibrate
from littlebig_calibration.evidence import Costs, Estimate
from littlebig_calibration.table import PredictionTable

# arXiv 2406.17117: pair -> fraction of MACs saved at the big model's accuracy on ImageNet-1K's validation images. The
# fourth, InternImage-G at 512 (0.62 at 90 % top-1), takes too long to be measured by default.
PUBLISHED = {"efficientvit": 0.76, "efficientnet": 0.81, "deit3": 0.71}

COLUMNS = ("pair", "little", "big", "cascade", "escalated", "published", "measured", "certified")


def compare(pair: str, table: PredictionTable, costs: Costs) -> dict[str, str]:
    """One row: what the paper publishes for a pair, and what both rules save on these predictions.

    Args:
        pair: its name.
        table: predictions of little and big, in this order, with labels.
        costs: of an image on each, in MACs or a multiple of them.

    Returns:
        A text for each of `COLUMNS`: accuracies; what the paper's rule escalates; MACs saved as published, as measured
        with the paper's rule, and as measured with the certified one.

    Raises:
        PairChoiceError: if no threshold can be chosen from this table, or labels are missing.
    """
    little, big = (model.name for model in table.models)
    paper = calibrate(table, little, big, CalibrationSettings(rule="paper", costs=costs))
    certified = calibrate(table, little, big, CalibrationSettings(costs=costs))
    published = PUBLISHED.get(pair)
    return {
        "pair": pair,
        "little": _percent(paper.accuracy_little),
        "big": _percent(paper.accuracy_big),
        "cascade": _percent(paper.chosen.accuracy),
        "escalated": f"{paper.chosen.escalation_rate.value:.1%}",
        "published": "" if published is None else f"{published:.0%}",
        "measured": _saved(paper.chosen.cost_reduction),
        "certified": "big only" if certified.chosen.threshold is None else _saved(certified.chosen.cost_reduction),
    }


def _percent(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{estimate.value:.2%}"


def _saved(reduction: float | None) -> str:
    return "" if reduction is None else f"{reduction:.1%}"
