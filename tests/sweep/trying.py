"""Tries one model: export, parity with the original on photographs, ONNX Runtime, a build by TensorRT-RTX."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from littlebig_export.classifiers import prepare
from littlebig_export.engine_build import BuildSettings, Profile, build_plan
from littlebig_export.errors import EngineError, ExportError, ParityError
from littlebig_export.pair import OnnxModel, TimmModel
from littlebig_export.parity import check_parity
from littlebig_export.pictures import photographs
from littlebig_export.precision_effect import lower
from littlebig_export.repository import save_graph
from littlebig_export.stage_graph import stage_graph
from littlebig_export.tensorrt_api import load_tensorrt_rtx

# The canonical image is larger than the model's input, so that its view is tried too.
_LARGER = 8 / 7


@dataclass(frozen=True)
class Tried:
    """What became of a model.

    Attributes:
        name: the model's.
        size: of its input, in pixels.
        parity: the largest difference of a sharpened probability from the original's, or None.
        failed: `export`, `parity`, `build` or, if all went well, nothing.
        reason: of the failure, one line.
    """

    name: str
    size: int = 0
    parity: float | None = None
    failed: str = ""
    reason: str = ""


def try_model(name: str, model: TimmModel | OnnxModel, precision: str = "fp16") -> Tried:
    """Export a model as a little stage and build it; nothing is kept."""
    tried = Tried(name)
    try:
        classifier = prepare(model)
        facts = classifier.backbone.preprocessing
        tried = replace(tried, size=facts.size)
        canonical = replace(facts, size=round(facts.size * _LARGER))
        parity = check_parity(stage_graph(classifier.backbone, canonical), classifier, canonical, photographs())
        tried = replace(tried, parity=parity.largest_difference)
        graph = stage_graph(lower(classifier, precision).backbone, canonical)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            save_graph(graph, path)
            settings = BuildSettings(Profile(1, 2, 4), compute_capability="8.9")
            build_plan(load_tensorrt_rtx(), path, settings, called=name)
    except ParityError as reason:
        return replace(tried, failed="parity", reason=str(reason))
    except EngineError as reason:
        return replace(tried, failed="build", reason=str(reason))
    except ExportError as reason:
        return replace(tried, failed="export", reason=str(reason))
    except Exception as reason:  # what the exporter should have said in one line
        return replace(tried, failed="traceback", reason=f"{type(reason).__name__}: {reason}".splitlines()[0])
    return tried
