"""Draws docs/images/gain.svg, the README's plot, from the default pair's calibration.

Run from the checkout's root:  .venv/bin/python experiments/plot_gain.py
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "littlebig", "font.size": 10, "svg.fonttype": "none"})

import matplotlib.pyplot as plt  # noqa: E402  (the backend is chosen first)

ROOT = Path(__file__).parents[1]
CALIBRATION = ROOT / "export" / "littlebig_export" / "pairs" / "efficientnet-lite.calibration.json"
PLOT = ROOT / "docs" / "images" / "gain.svg"


def main() -> None:
    """Write the plot: top-1 accuracy against multiply-adds per image, for each threshold of the calibration."""
    calibration = json.loads(CALIBRATION.read_text(encoding="utf-8"))
    little, big = calibration["costs"]["little"], calibration["costs"]["big"]
    costs = [little + rate * big for rate in calibration["curve"]["escalation_rate"]]
    accuracy_big = calibration["accuracy_big"]["value"]
    accuracies = [100 * (accuracy_big + value) for value in calibration["curve"]["difference"]]
    chosen = calibration["chosen"]
    figure, axes = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
    axes.plot(costs, accuracies, color="#3b6ea5", linewidth=1.5, label="cascade, by threshold")
    for name, cost, accuracy, offset in (
        ("little alone", little, calibration["accuracy_little"]["value"], (8, -4)),
        ("big alone", big, calibration["accuracy_big"]["value"], (4, -16)),
        ("cascade as exported", chosen["cost"], chosen["accuracy"]["value"], (2, -28)),
    ):
        axes.plot(cost, 100 * accuracy, "o", color="#c8102e" if name.startswith("cascade") else "#333333")
        axes.annotate(
            f"{name}: {100 * accuracy:.1f} %",
            (cost, 100 * accuracy),
            xytext=offset,
            textcoords="offset points",
        )
    axes.set_xlim(little - 0.05, 1.2)
    axes.set_ylim(88.8, 93.8)
    axes.set_xlabel("multiply-adds per image, billions")
    axes.set_ylabel("top-1 accuracy, %")
    axes.set_title("EfficientNet-Lite0 and Lite2, 1,000 labelled photographs", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, metadata={"Date": None})
    text = PLOT.read_text(encoding="utf-8")
    PLOT.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
