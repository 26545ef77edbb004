"""A calibration as text: the rows that the command prints and the report shows, and sentences."""

from littlebig_calibration.evidence import Calibration, Estimate, OperatingPoint

COLUMNS = ("choice", "threshold", "escalated", "bootstrap", "accuracy", "against big", "cost", "saved")


def rows(calibration: Calibration) -> list[dict[str, str]]:
    """One row each for little, big, the paper's rule, and the chosen rule if it is another."""
    costs = calibration.costs
    result = [
        _single(
            calibration.little.name,
            0.0,
            calibration.accuracy_little,
            calibration.difference,
            None if costs is None else costs.little,
        ),
        _single(calibration.big.name, 1.0, calibration.accuracy_big, None, None if costs is None else costs.big),
    ]
    if calibration.paper is not None:
        result.append(_point("paper's rule", calibration.paper))
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


def details(calibration: Calibration) -> list[str]:
    """What the labels that decided say, and how much that varies, one sentence each."""
    result, proof, bootstrap = [], calibration.proof, calibration.chosen.escalation_if_repeated
    if proof is not None:
        result.append(
            f"{proof.labels_used:,} labels decided, among {proof.images:,} certifying images; the models differ on "
            f"{proof.disagreements / proof.images:.1%} of these."
        )
    if proof is not None and calibration.chosen.threshold is not None:
        result.append(
            f"Of the kept images {proof.lost:,} are lost to big and {proof.won:,} won: p = {proof.p_value:.2g}, "
            f"at most {proof.level:.2g} was allowed."
        )
    if bootstrap is not None:
        result.append(f"On other samples of as many images the same rule escalates {_range(*bootstrap)}.")
    return result


def _range(low: float, high: float) -> str:
    return f"{low * 100:.1f}-{high:.1%}"


def _single(
    name: str, rate: float, accuracy: Estimate | None, difference: Estimate | None, cost: float | None
) -> dict[str, str]:
    row = _row(f"{name} alone", None, rate, accuracy, difference)
    row["cost"] = "" if cost is None else f"{cost:.4g}"
    return row


def _point(name: str, point: OperatingPoint) -> dict[str, str]:
    big_only = point.threshold is None
    row = _row(
        name, point.threshold, point.escalation_rate.value, point.accuracy, None if big_only else point.difference
    )
    if big_only:
        row["threshold"] = "big only"
    if point.escalation_if_repeated is not None:
        row["bootstrap"] = _range(*point.escalation_if_repeated)
    if point.cost is not None and point.cost_reduction is not None:
        row["cost"], row["saved"] = f"{point.cost:.4g}", f"{point.cost_reduction:.1%}"
    return row


def _row(
    name: str, threshold: float | None, rate: float, accuracy: Estimate | None, difference: Estimate | None
) -> dict[str, str]:
    return {
        "choice": name,
        "threshold": "" if threshold is None else f"{threshold:.4f}",
        "escalated": f"{rate:.1%}",
        "bootstrap": "",
        "accuracy": "" if accuracy is None else f"{accuracy.value:.2%}",
        "against big": "" if difference is None else f"{points(difference.low)} to {points(difference.high)}",
        "cost": "",
        "saved": "",
    }


def points(difference: float) -> str:
    """A difference in accuracy in percentage points, with its sign."""
    return f"{difference * 100:+.1f}"
