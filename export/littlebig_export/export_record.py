"""What littlebig.json says of a stage's model, and of what made the repository."""

from __future__ import annotations

import datetime
import importlib.metadata
from typing import Any

import onnxruntime

from littlebig_export.agreement import Agreement
from littlebig_export.classifiers import Classifier
from littlebig_export.parity import Parity
from littlebig_export.provenance import made_by

_TOOLS = ("littlebig", "timm", "torch", "onnx", "pillow")


def describe_stage(classifier: Classifier, parity: Parity, agreement: Agreement | None = None) -> dict[str, Any]:
    """A stage's entry in littlebig.json: its model, weights, transform and checks."""
    facts = classifier.backbone.preprocessing
    described = {
        "model": classifier.name,
        "weights": {"source": classifier.source, "sha256": classifier.weights_sha256},
        "input_size": facts.size,
        "crop_pct": facts.crop_pct,
        "crop_mode": facts.crop_mode,
        "interpolation": facts.interpolation,
        "mean": facts.mean,
        "std": facts.std,
        "parity": parity.as_dict(),
    }
    if agreement is not None:
        described["own_transform"] = agreement.as_dict()
    return described


def describe_making() -> dict[str, Any]:
    """What made a repository, and when, for littlebig.json."""
    return {
        # ONNX Runtime has a distribution of another name for each kind of device.
        "versions": {
            **{name: importlib.metadata.version(name) for name in _TOOLS},
            "onnxruntime": onnxruntime.__version__,
        },
        "made_by": made_by(),
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
