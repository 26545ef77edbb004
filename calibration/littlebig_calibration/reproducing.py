"""The paper's table beside one's own: published reductions of multiply-accumulates against measured ones."""

from __future__ import annotations

from littlebig_calibration.calibrating import Settings, calibrate
from littlebig_calibration.evidence import Costs
from littlebig_calibration.table import PredictionTable

# arXiv 2406.17117: pair -> fraction of MACs saved at the big model's accuracy on ImageNet-1K's validation images. Its
# fourth, InternImage-G at 512 (0.62), is not among timm's models.
PUBLISHED = {"efficientvit": 0.76, "efficientnet": 0.81, "deit3": 0.71}

COLUMNS = (
    "pair", "images", "little", "big", "published", "paper's rule", "threshold", "escalated", "cascade", "certified"
)  # fmt: skip


def compare(pair: str, table: PredictionTable, costs: Costs) -> dict[str, str]:
    """One row: what the paper publishes for a pair, and what both rules save on these predictions.

    Args:
        pair: its name.
        table: predictions of little and big, in this order, with labels.
        costs: of an image on each, in MACs or a multiple of them.

    Returns:
        A text for each of `COLUMNS`.

    Raises:
        PairError: if no threshold can be chosen from this table.
    """
    little, big = (model.name for model in table.models)
    paper = calibrate(table, little, big, Settings(rule="paper", costs=costs))
    certified = calibrate(table, little, big, Settings(costs=costs))
    published = PUBLISHED.get(pair)
    threshold = paper.chosen.threshold
    return {
        "pair": pair,
        "images": f"{paper.data.images:,}",
        "little": f"{paper.accuracy_little.value:.2%}",
        "big": f"{paper.accuracy_big.value:.2%}",
        "published": "" if published is None else f"{published:.0%}",
        "paper's rule": _saved(paper.chosen.cost_reduction),
        "threshold": "big only" if threshold is None else f"{threshold:.3f}",
        "escalated": f"{paper.chosen.escalation_rate.value:.1%}",
        "cascade": f"{paper.chosen.accuracy.value:.2%}",
        "certified": "big only" if certified.chosen.threshold is None else _saved(certified.chosen.cost_reduction),
    }


def _saved(reduction: float | None) -> str:
    return "" if reduction is None else f"{reduction:.1%}"
