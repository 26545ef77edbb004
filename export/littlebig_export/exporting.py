"""Exports a pair: pair -> classifiers -> stage graphs -> parity check -> model repository."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from PIL import Image

from littlebig_contract.stages import STAGES
from littlebig_export.agreement import Agreement, measure_agreement
from littlebig_export.class_names import class_names
from littlebig_export.classifiers import Classifier, prepare
from littlebig_export.decoding import PILLOW, check_decoder, decode_mode
from littlebig_export.export_record import describe_making, describe_stage
from littlebig_export.pair import OnnxModel, Pair, TimmModel, check_files
from littlebig_export.pair_threshold import choose_threshold
from littlebig_export.parity import Parity, check_parity
from littlebig_export.pictures import crops, photographs
from littlebig_export.precision_effect import Effect, Lowered, as_provenance, describe_effect, lower, measure_effect
from littlebig_export.preprocessing import Preprocessing
from littlebig_export.quantising import Shown, quantise, served_identity
from littlebig_export.remote import check_remote, stage_alias
from littlebig_export.repository import Rendering, check_output, write_repository
from littlebig_export.stage_graph import stage_graph
from littlebig_export.stage_precisions import describe_precisions, stage_precisions
from littlebig_export.unsupported import unsupported_by_tensorrt


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
    decoder: str = PILLOW,
    earlier: Exported | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> Exported:
    """Export a pair into a model repository that tritonserver serves as it is.

    Args:
        pair: which models, and their weights.
        target: one of `targets.TARGETS`.
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
        decoder: of preprocess, `pillow` or `nvimagecodec`.
        earlier: an export of the same pair for the same target, whose models and checks are taken over to save time.
        report: called with one line of progress per step.

    Raises:
        ExportError: with one line that says what was wrong and what to do; nothing is written then.
    """
    check_output(output)
    check_files(pair)
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
    check_decoder(decoder, canonical)
    _warn_of_crop_modes(classifiers["little"].backbone.preprocessing, canonical, report)
    chosen = choose_threshold(pair, threshold, classifiers, report)
    ours = photographs()
    truth = labels(classifiers["big"].classes, names) if labels else ()
    graphs, parity, lowered = {}, {}, {}
    agreement = earlier.agreement if earlier else None
    for stage in STAGES:
        graph = stage_graph(classifiers[stage].backbone, canonical, banded=target == "cpu")
        if target == "tensorrt" and stage not in remote:
            _warn_of_unsupported(stage, graph, report)
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
            low, effect = _lower(
                classifiers[stage],
                pair.little if stage == "little" else pair.big,
                graph,
                canonical,
                target,
                precisions[stage],
                pictures,
                truth,
                (chosen.score, chosen.value),
                int8_anyway=int8_anyway,
            )
            samples = "hard crops of the samples" if low.precision == "int8" else "photographs"
            report(describe_effect(stage, low, effect, of="pictures" if pictures else samples))
            lowered[stage] = as_provenance(low, effect)
            precisions[stage] = low.precision
            identity = served_identity(classifiers[stage].weights_sha256, low, target)
            classifiers[stage] = replace(classifiers[stage], weights_sha256=identity)
            graph = stage_graph(low.backbone, canonical, banded=target == "cpu")
        graphs[stage] = graph
    if "int8" in precisions.values() and threshold is None:
        chosen = choose_threshold(pair, None, classifiers, report)
    provenance: dict[str, Any] = {
        "format": 1,
        "pair": {"name": pair.name, "description": pair.description},
        "target": target,
        "threshold": {"value": chosen.value, "source": chosen.source, "score": chosen.score},
        "canonical_image": {
            "height": canonical.size,
            "width": canonical.size,
            "channels": "RGB",
            "dtype": "uint8",
            "decode": decode_mode(decoder),
        },
        "stages": {
            "little": describe_stage(classifiers["little"], parity["little"], agreement),
            "big": describe_stage(classifiers["big"], parity["big"]),
        },
        **({"only": {"stage": only, "alias": stage_alias(only, classifiers[only].weights_sha256)}} if only else {}),
        "precision": {"name": describe_precisions(precisions), "stages": lowered},
        **describe_making(),
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
            threshold=pair.threshold if chosen.value is None else chosen.value,
            cores=cores or len(os.sched_getaffinity(0)),
            provenance=provenance,
            calibration=None if only else chosen.calibration,
            remote=remote,
            decoder=decoder,
        ),
    )
    report(f"wrote {output}")
    return Exported(output, parity, provenance, prepared, agreement)


def _warn_of_crop_modes(little: Preprocessing, big: Preprocessing, report: Callable[[str], None]) -> None:
    if little.crop_mode != big.crop_mode:
        report(
            f"little: its own crop mode is '{little.crop_mode}', but it sees pictures as big does: '{big.crop_mode}'; "
            f"for '{little.crop_mode}' in both stages set crop_mode = \"{little.crop_mode}\" under [big]"
        )


def _warn_of_unsupported(stage: str, graph: onnx.ModelProto, report: Callable[[str], None]) -> None:
    if unsupported := unsupported_by_tensorrt(graph):
        report(
            f"{stage}: TensorRT has no {', '.join(unsupported)}, so that no engine can be built: export the model "
            "without that, or serve it with --target cuda or cpu"
        )


def _lower(
    classifier: Classifier,
    model: TimmModel | OnnxModel,
    graph: onnx.ModelProto,
    canonical: Preprocessing,
    target: str,
    precision: str,
    pictures: Sequence[Image.Image],
    labels: Sequence[int],
    decision: tuple[str, float | None],
    *,
    int8_anyway: bool,
) -> tuple[Lowered, Effect | None]:
    if precision == "int8":
        shown = Shown(pictures or crops(), labels, None if pictures else model.int8_ranges)
        return quantise(classifier, canonical, target, model.fp32, shown, decision, anyway=int8_anyway)
    judged = () if classifier.source == "random" else pictures or photographs()
    # A few photographs find the activations that need FP32; more would only cost time, the headroom is wide.
    low = lower(classifier, precision, model.fp32, judged[:6])
    return low, measure_effect(graph, low, canonical, judged, decision, labels) if judged else None


def _describe_parity(parity: Parity) -> str:
    return (
        f"graph agrees with the model on {parity.top1_agreement:.0%} of {parity.pictures} photographs, "
        f"a probability differs by at most {parity.largest_difference:.1g}"
    )
