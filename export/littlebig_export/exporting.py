"""Exports a pair: pair -> classifiers -> stage graphs -> parity check -> model repository."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from PIL import Image

from littlebig_contract.stages import STAGES
from littlebig_export.agreement import Agreement, measure_agreement
from littlebig_export.applying import CALIBRATION, calibrated_score, check_weights
from littlebig_export.class_names import class_names
from littlebig_export.classifiers import Classifier, prepare
from littlebig_export.errors import PairError, RepositoryError
from littlebig_export.pair import Pair
from littlebig_export.parity import Parity, check_parity
from littlebig_export.pictures import crops, photographs
from littlebig_export.precision_effect import Effect, Lowered, as_provenance, describe_effect, lower, measure_effect
from littlebig_export.preprocessing import Preprocessing
from littlebig_export.provenance import made_by
from littlebig_export.quantising import Shown, quantise, served_identity
from littlebig_export.remote import check_remote, stage_alias
from littlebig_export.repository import DECODE, Rendering, check_output, write_repository
from littlebig_export.stage_graph import stage_graph
from littlebig_export.stage_precisions import describe_precisions, stage_precisions

_TOOLS = ("littlebig", "timm", "torch", "onnx", "pillow")


@dataclass(frozen=True)
class Exported:
    """What an export made.

    Attributes:
        output: the model repository.
        parity: stage -> how its graph compares with its model.
        provenance: contents of littlebig.json.
        classifiers: stage -> the model in FP32.
        agreement: how often little answers as with its model's own transform; None for random weights.
    """

    output: Path
    parity: Mapping[str, Parity]
    provenance: Mapping[str, Any]
    classifiers: Mapping[str, Classifier]
    agreement: Agreement | None


def export_pair(
    pair: Pair,
    target: str,
    output: Path,
    *,
    threshold: float | None = None,
    cores: int | None = None,
    precision: str | None = None,
    int8_anyway: bool = False,
    pictures: Sequence[Image.Image] = (),
    labels: Callable[[int, Sequence[str]], Sequence[int]] | None = None,
    remote: Mapping[str, Mapping[str, str]] | None = None,
    only: str | None = None,
    earlier: Exported | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Exported:
    """Export a pair into a model repository that tritonserver serves as it is.

    Args:
        pair: which models, and their weights.
        target: `cpu`, `cuda` or `tensorrt`.
        output: the repository's folder; an earlier export there is replaced in one step at the end.
        threshold: escalate below this confidence instead of what the pair's calibration says, in [0, 1].
        cores: what the cpu target's threads are laid out for; those this process may use by default.
        precision: of both stages, or of each, as `stage_precisions` reads it.
        pictures: RGB images that measure little's agreement with its model's own transform, by default crops of the
            sample photographs, and the precision's effect, by default those photographs. INT8 takes its ranges from
            them, by default from the pair's ranges or else the crops.
        int8_anyway: serve INT8 even where it is no faster here.
        labels: the pictures' classes, given the number of classes and their names; says how many answers are right.
        remote: stage -> parameters of its connection (`url` at least), for stages that another server computes.
        only: a stage, for a repository that serves nothing else.
        earlier: an export of the same pair for the same target, whose models and checks are taken over to save time.
        report: called with one line of progress per step.

    Raises:
        ExportError: with one line that says what was wrong and what to do; nothing is written then.
    """
    check_output(output)
    remote = remote or {}
    check_remote(remote, only)
    precisions = stage_precisions(precision, target)
    classifiers: dict[str, Classifier] = {}
    for stage, model in (("big", pair.big), ("little", pair.little)):
        classifiers[stage] = earlier.classifiers[stage] if earlier else prepare(model)
        report(f"{stage}: {classifiers[stage].name}, weights {classifiers[stage].weights_sha256[:12]}")
    prepared = dict(classifiers)
    names = class_names(pair, classifiers)
    canonical = classifiers["big"].backbone.preprocessing
    _warn_of_crop_modes(classifiers["little"].backbone.preprocessing, canonical, report)
    calibration, chosen, score = _threshold(pair, threshold, classifiers, report)
    ours = photographs()
    truth = labels(classifiers["big"].classes, names) if labels else ()
    graphs, parity, lowered = {}, {}, {}
    agreement = earlier.agreement if earlier else None
    for stage in STAGES:
        graph = stage_graph(classifiers[stage].backbone, canonical, banded=target == "cpu")
        if earlier:
            parity[stage] = earlier.parity[stage]
        else:
            parity[stage] = check_parity(graph, classifiers[stage], canonical, ours)
            report(f"{stage}: {_describe_parity(parity[stage])}")
        # big sees what its own transform makes, and the labels of random weights mean nothing.
        if not earlier and stage == "little" and classifiers[stage].source != "random":
            agreement = measure_agreement(graph, classifiers[stage], canonical, pictures or crops())
            report(f"{stage}: {agreement.describe(of='pictures' if pictures else 'crops of them')}")
        if precisions[stage] != "fp32":
            model = pair.little if stage == "little" else pair.big
            decision = score, chosen["value"]
            if precisions[stage] == "int8":
                shown = Shown(pictures or crops(), truth, None if pictures else model.int8_ranges)
                low, effect = quantise(
                    classifiers[stage], canonical, target, model.fp32, shown, decision, anyway=int8_anyway
                )
            else:
                random = classifiers[stage].source == "random"
                judged = () if random else (pictures or ours)
                low, effect = _lower(
                    classifiers[stage], graph, precisions[stage], model.fp32, canonical, judged, truth, decision
                )
            report(describe_effect(stage, low, effect))
            lowered[stage] = as_provenance(low, effect)
            precisions[stage] = low.precision
            identity = served_identity(classifiers[stage].weights_sha256, low, target)
            classifiers[stage] = replace(classifiers[stage], weights_sha256=identity)
            graph = stage_graph(low.backbone, canonical, banded=target == "cpu")
        graphs[stage] = graph
    if "int8" in precisions.values() and threshold is None:
        calibration, chosen, score = _threshold(pair, None, classifiers, report)
    provenance: dict[str, Any] = {
        "format": 1,
        "pair": {"name": pair.name, "description": pair.description},
        "target": target,
        "threshold": {**chosen, "score": score},
        "canonical_image": {
            "height": canonical.size,
            "width": canonical.size,
            "channels": "RGB",
            "dtype": "uint8",
            "decode": DECODE,
        },
        "stages": {
            "little": _described(classifiers["little"], parity["little"], agreement),
            "big": _described(classifiers["big"], parity["big"], None),
        },
        **({"only": {"stage": only, "alias": stage_alias(only, classifiers[only].weights_sha256)}} if only else {}),
        "precision": {"name": describe_precisions(precisions), "stages": lowered},
        # ONNX Runtime has a distribution of another name for each kind of device.
        "versions": {
            **{name: importlib.metadata.version(name) for name in _TOOLS},
            "onnxruntime": onnxruntime.__version__,
        },
        "made_by": made_by(),
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
    for stage, parameters in remote.items():
        provenance["stages"][stage]["remote"] = parameters["url"]
    write_repository(
        output,
        Rendering(
            target=target,
            graphs=graphs,
            canonical=canonical,
            class_names=names,
            threshold=pair.threshold if chosen["value"] is None else chosen["value"],
            cores=cores or len(os.sched_getaffinity(0)),
            provenance=provenance,
            calibration=None if only else calibration,
            remote=remote,
        ),
    )
    report(f"wrote {output}")
    return Exported(output, parity, provenance, prepared, agreement)


def _calibration(pair: Pair, classifiers: Mapping[str, Classifier], report: Callable[[str], None]) -> str | None:
    """The pair's calibration of these weights as JSON text; None, with a line to `report`, if all are of others."""
    served = {
        stage: {"model": each.name, "weights": {"sha256": each.weights_sha256}} for stage, each in classifiers.items()
    }
    for path in pair.calibrations:
        try:
            text = path.read_text(encoding="utf-8")
            check_weights(json.loads(text), served)
        except (OSError, ValueError, KeyError, TypeError) as reason:
            raise PairError(
                f"'{path}' is no calibration that can be read ({reason}): write it with 'littlebig calibrate "
                "--output', or take 'calibration' out of the pair's file"
            ) from reason
        except RepositoryError:
            continue
        return text
    if pair.calibrations:
        report(f"not calibrated for these weights: the pair's own threshold, {pair.threshold:g}, is served")
    return None


def _warn_of_crop_modes(little: Preprocessing, big: Preprocessing, report: Callable[[str], None]) -> None:
    if little.crop_mode != big.crop_mode:
        report(
            f"little: its own crop mode is '{little.crop_mode}', but it sees pictures as big does: '{big.crop_mode}'; "
            f"for '{little.crop_mode}' in both stages set crop_mode = \"{little.crop_mode}\" under [big]"
        )


def _threshold(
    pair: Pair, given: float | None, classifiers: Mapping[str, Classifier], report: Callable[[str], None]
) -> tuple[str | None, dict[str, Any], str]:
    """The calibration or None; `threshold` of littlebig.json, its value None for big only; and the score."""
    if given is not None:
        return None, {"value": given, "source": "given at export"}, "confidence"
    calibration = _calibration(pair, classifiers, report)
    if calibration is None:
        return None, {"value": pair.threshold, "source": "pair"}, "confidence"
    content = json.loads(calibration)
    return calibration, {"value": content["chosen"]["threshold"], "source": CALIBRATION}, calibrated_score(content)


def _lower(
    classifier: Classifier,
    graph: onnx.ModelProto,
    precision: str,
    patterns: Sequence[str],
    canonical: Preprocessing,
    pictures: Sequence[Image.Image],
    labels: Sequence[int],
    decision: tuple[str, float],
) -> tuple[Lowered, Effect | None]:
    # A few photographs find the activations that need FP32; more would only cost time, the headroom is wide.
    low = lower(classifier, precision, patterns, pictures[:6])
    return low, measure_effect(graph, low, canonical, pictures, decision, labels) if pictures else None


def _described(classifier: Classifier, parity: Parity, agreement: Agreement | None) -> dict[str, Any]:
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


def _describe_parity(parity: Parity) -> str:
    return (
        f"graph agrees with the model on {parity.top1_agreement:.0%} of {parity.pictures} photographs, "
        f"a probability differs by at most {parity.largest_difference:.1g}"
    )
