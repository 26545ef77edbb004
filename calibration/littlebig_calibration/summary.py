"""A calibration as rows of text: what the command prints and the report's table shows."""

from __future__ import annotations

from littlebig_calibration.evidence import Calibration, Estimate, OperatingPoint

COLUMNS = ("choice", "threshold", "escalated", "repeated", "accuracy", "interval", "cost", "saved")


def rows(calibration: Calibration) -> list[dict[str, str]]:
    """A row each for little, big, the paper's rule, and what was chosen if that is another one."""
    costs = calibration.costs
    found = [
        _single(calibration.little.name, 0.0, calibration.accuracy_little, None if costs is None else costs.little),
        _single(calibration.big.name, 1.0, calibration.accuracy_big, None if costs is None else costs.big),
        _point("paper's rule", calibration.paper),
    ]
    if calibration.rule != "paper":
        name = "certified" if calibration.rule == "certified" else f"at most {calibration.max_escalation:g} escalated"
        found.append(_point(name, calibration.chosen))
    return found


def verdict(calibration: Calibration) -> str:
    """What the calibration says, in one sentence."""
    threshold, guarantee = calibration.chosen.threshold, calibration.guarantee
    if threshold is None:
        return "Big only: no threshold keeps the promise on these labels."
    rate = calibration.chosen.escalation_rate.value
    start = f"Escalate when {calibration.gate} < {threshold:.4f}: {rate:.1%} of images"
    if calibration.offset is not None:
        start += f" (little's answer stands where its logit leads by more than {calibration.offset:g})"
    if guarantee is None:
        return f"{start}. Nothing is promised about other images."
    loss = f"at most {guarantee.max_accuracy_loss:.3%}" if guarantee.max_accuracy_loss else "nothing"
    return f"{start}. Against big's accuracy it loses {loss}, with {guarantee.confidence_level:.0%} confidence."


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
        row["repeated"] = _range(low, high, 1)
    if point.cost is not None and point.cost_reduction is not None:
        row["cost"], row["saved"] = f"{point.cost:.4g}", f"{point.cost_reduction:.1%}"
    return row


def _row(name: str, threshold: float | None, rate: Estimate, accuracy: Estimate) -> dict[str, str]:
    return {
        "choice": name,
        "threshold": "" if threshold is None else f"{threshold:.4f}",
        "escalated": f"{rate.value:.1%}",
        "repeated": "",
        "accuracy": f"{accuracy.value:.2%}",
        "interval": _range(accuracy.low, accuracy.high, 1),
        "cost": "",
        "saved": "",
    }


def _range(low: float, high: float, digits: int) -> str:
    return f"{low * 100:.{digits}f}-{high:.{digits}%}"
