"""A pair's models, made ready for the graph: backbone as ONNX, reference to check it against, identity, class names."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import timm
import timm.data
import torch
from torch.utils.flop_counter import FlopCounterMode

from littlebig_export.errors import PairError
from littlebig_export.onnx_model import read_classifier
from littlebig_export.pair import OnnxModel, TimmModel
from littlebig_export.preprocessing import Preprocessing
from littlebig_export.stage_graph import Backbone
from littlebig_export.tracing import export_network
from littlebig_export.weights import hash_weights, load_timm

Images = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]
# How far FP32, or FP16 inside a model, may miss [0, 1], and a sum of 1.
_ROUNDING, _SUM_ROUNDING = 1e-3, 1e-2


@dataclass(frozen=True)
class Classifier:
    """One model of a pair, independent of where it came from.

    Attributes:
        name: what people call it.
        source: where its weights came from, for the provenance file.
        weights_sha256: identity of its weights and of every setting of the pair's file that changes its answers, a hex
            string.
        classes: number of classes.
        backbone: the ONNX graph with its preprocessing.
        scores: what the original model answers, float32 [N,C], for normalised float32 images [N,3,S,S].
        class_names: one per class where the source knows them.
    """

    name: str
    source: str
    weights_sha256: str
    classes: int
    backbone: Backbone
    scores: Callable[[Images], Scores]
    class_names: tuple[str, ...] | None

    def reference(self, images: Images) -> Scores:
        """Probabilities [N,C] by the original model.

        Args:
            images: normalised float32 [N,3,S,S].

        Raises:
            PairError: if the scores are not what the pair's file says they are.
        """
        scores = self.scores(images)
        check_scores(scores, self.backbone.scores, self.name)
        return softmax(scores) if self.backbone.scores == "logits" else scores


def prepare(model: TimmModel | OnnxModel) -> Classifier:
    """Build a classifier from its description in a pair.

    Raises:
        PairError: if timm has no such model or its transform is one that no stage can do.
        WeightsError: if the weights cannot be loaded or do not fit.
        GraphError: if an ONNX file is not a classifier that can become a stage.
    """
    return _from_timm(model) if isinstance(model, TimmModel) else _from_onnx(model)


def _from_timm(model: TimmModel) -> Classifier:
    network = load_timm(model)
    classes = int(network.num_classes)
    if classes < 2:
        raise PairError(
            f"'{model.architecture}' has no classifier head (num_classes = {classes}), it only computes features: "
            "choose a model that was trained to classify"
        )
    config = {**timm.data.resolve_model_data_config(network), **model.transform}
    preprocessing = Preprocessing.from_timm(config)

    def scores(images: Images) -> Scores:
        with torch.inference_mode():
            logits: Scores = network(torch.from_numpy(images)).numpy()
        return logits

    return Classifier(
        name=model.architecture,
        source=model.weights if not model.weights.startswith("file:") else f"file:{Path(model.weights[5:]).name}",
        weights_sha256=_identity(hash_weights(network), dict(model.transform)),
        classes=classes,
        backbone=Backbone(export_network(network, preprocessing.size, model.architecture), preprocessing),
        scores=scores,
        class_names=_imagenet_names() if classes == 1000 else None,
    )


def count_without_weights(model: TimmModel) -> tuple[int, int, Preprocessing]:
    """A timm model's parameters, multiply-accumulates and transform, in little memory however large it is.

    Counts convolutions, products and bilinear samples as `count_macs` does, by PyTorch's counter.

    Raises:
        PairError: if timm has no such model or its transform is one that no stage can do.
    """
    with torch.device("meta"):
        network = load_timm(replace(model, weights="random"))
    preprocessing = Preprocessing.from_timm({**timm.data.resolve_model_data_config(network), **model.transform})

    def samples(*_: Any, out_shape: Any, **__: Any) -> int:
        return 8 * int(math.prod(out_shape))  # floating-point operations, of which a multiply-accumulate is two

    sampler = {torch.ops.aten.grid_sampler_2d: samples}
    with FlopCounterMode(display=False, custom_mapping=sampler) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, preprocessing.size, preprocessing.size, device="meta"))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return parameters, counter.get_total_flops() // 2, preprocessing


def _imagenet_names() -> tuple[str, ...]:
    info = timm.data.ImageNetInfo("imagenet-1k")
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))


def _from_onnx(model: OnnxModel) -> Classifier:
    given = read_classifier(model)
    return Classifier(
        name=model.path.stem,
        source=f"onnx:{model.path.name}",
        weights_sha256=_identity(
            given.sha256, {**asdict(given.preprocessing), "scores": model.scores, "output": given.output}
        ),
        classes=given.classes,
        backbone=Backbone(given.graph, given.preprocessing, model.scores),
        scores=given.scores,
        class_names=None,
    )


def _identity(weights_sha256: str, settings: dict[str, Any]) -> str:
    """Weights with other settings answer differently, so a calibration of the one is none of the other."""
    if not settings:
        return weights_sha256
    return hashlib.sha256((weights_sha256 + json.dumps(settings, sort_keys=True)).encode()).hexdigest()


def check_scores(scores: Scores, kind: str, name: str) -> None:
    """Refuse scores that are not of the kind that the pair's file says.

    Args:
        scores: float32 [N,C] of photographs.
        kind: `logits` or `probabilities`.
        name: the model's, for the message.

    Raises:
        PairError: if probabilities are no distribution, or if logits are one on every photograph.
    """
    low, high, sums = float(scores.min()), float(scores.max()), scores.sum(axis=-1)
    if not np.isfinite(scores).all():
        raise PairError(f"'{name}' answers photographs with values that are not finite: check its mean and std")
    within = low >= -_ROUNDING and high <= 1.0 + _ROUNDING
    distribution = within and bool(np.abs(sums - 1.0).max() <= _SUM_ROUNDING)
    if kind == "probabilities" and not distribution:
        fact = f"sums from {sums.min():.2g} to {sums.max():.2g}" if within else f"values from {low:.2g} to {high:.2g}"
        raise PairError(
            f"the scores of '{name}' are not probabilities: on photographs it answers {fact}; "
            + ("a stage needs one distribution over the classes" if within else 'set scores = "logits"')
        )
    if kind == "logits" and distribution:
        raise PairError(
            f"the scores of '{name}' are not logits: on every photograph they are in [0, 1] and sum to 1; "
            'set scores = "probabilities"'
        )


def softmax(scores: npt.NDArray[np.floating[Any]]) -> Scores:
    """Probabilities [N,C] of logits [N,C]."""
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True), np.float32)
