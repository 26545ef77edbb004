"""A calibration as text: the rows that the command prints and the report shows, and one sentence."""

from __future__ import annotations

from littlebig_calibration.evidence import Calibration, Estimate, OperatingPoint

COLUMNS = ("choice", "threshold", "escalated", "bootstrap", "accuracy", "interval", "cost", "saved")


def rows(calibration: Calibration) -> list[dict[str, str]]:
    """One row each for little, big, the paper's rule, and the chosen rule if it is another."""
    costs = calibration.costs
    result = [
        _single(calibration.little.name, 0.0, calibration.accuracy_little, None if costs is None else costs.little),
        _single(calibration.big.name, 1.0, calibration.accuracy_big, None if costs is None else costs.big),
        _point("paper's rule", calibration.paper),
    ]
    if calibration.rule != "paper":
        name = "certified" if calibration.rule == "certified" else f"at most {calibration.max_escalation:g} escalated"
        result.append(_point(name, calibration.chosen))
    return result


def verdict(calibration: Calibration) -> str:
    """The choice and its guarantee, in one sentence."""
    threshold, guarantee = calibration.chosen.threshold, calibration.guarantee
    if threshold is None:
        return "Big only: no threshold could be certified with these labels."
    rate = calibration.chosen.escalation_rate.value
    start = f"Escalate when {calibration.score} < {threshold:.4f}: {rate:.1%} of images"
    if calibration.offset is not None:
        start += f" (little's answer stands where its logit leads by more than {calibration.offset:g})"
    if guarantee is None:
        return f"{start}. Nothing is guaranteed for other images."
    loss = f"loses at most {guarantee.max_accuracy_loss:.3%}" if guarantee.max_accuracy_loss else "loses nothing"
    return f"{start}. Against big's accuracy it {loss}, with {guarantee.confidence_level:.0%} confidence."


def _single(name: str, rate: float, accuracy: Estimate, cost: float | None) -> dict[str, str]:
    row = _row(f"{name} alone", None, Estimate(rate, rate, rate), accuracy)
    row["cost"] = "" if cost is None else f"{cost:.4g}"
    return row


def _point(name: str, point: OperatingPoint) -> dict[str, str]:
    row = _row(name, point.threshold, point.escalation_rate, point.accuracy)
    if point.threshold is None:
        row["threshold"] = "big only"
    if point.escalation_if_repeated is not None:
        low, high = point.escalation_if_repeated
        row["bootstrap"] = _range(low, high)
    if point.cost is not None and point.cost_reduction is not None:
        row["cost"], row["saved"] = f"{point.cost:.4g}", f"{point.cost_reduction:.1%}"
    return row


def _row(name: str, threshold: float | None, rate: Estimate, accuracy: Estimate) -> dict[str, str]:
    return {
        "choice": name,
        "threshold": "" if threshold is None else f"{threshold:.4f}",
        "escalated": f"{rate.value:.1%}",
        "bootstrap": "",
        "accuracy": f"{accuracy.value:.2%}",
        "interval": _range(accuracy.low, accuracy.high),
        "cost": "",
        "saved": "",
    }


def _range(low: float, high: float) -> str:
    return f"{low * 100:.1f}-{high:.1%}"
