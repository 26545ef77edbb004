"""A pair's models, made ready for the graph: backbone as ONNX, reference to check it against, identity, class names."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import timm
import timm.data
import torch

from littlebig_contract.onnx_runtime import open_session
from littlebig_export.errors import GraphError, PairError
from littlebig_export.pair import OnnxModel, TimmModel
from littlebig_export.preprocessing import Preprocessing
from littlebig_export.stage_graph import IR_VERSION, OPSET, Backbone
from littlebig_export.weights import hash_weights, load_timm

Images = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Classifier:
    """One model of a pair, independent of where it came from.

    Attributes:
        name: what people call it.
        source: where its weights came from, for the provenance file.
        weights_sha256: identity of its weights, a hex string.
        classes: number of classes.
        backbone: the ONNX graph with its preprocessing.
        reference: probabilities [N,C] of normalised float32 images [N,3,S,S], by the original model.
        class_names: one per class where the source knows them.
    """

    name: str
    source: str
    weights_sha256: str
    classes: int
    backbone: Backbone
    reference: Callable[[Images], Scores]
    class_names: tuple[str, ...] | None


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
    config = timm.data.resolve_model_data_config(network)
    preprocessing = Preprocessing.from_timm(config)

    def reference(images: Images) -> Scores:
        with torch.inference_mode():
            probabilities: Scores = network(torch.from_numpy(images)).softmax(-1).numpy()
        return probabilities

    classes = int(network.num_classes)
    return Classifier(
        name=model.architecture,
        source=model.weights if not model.weights.startswith("file:") else f"file:{Path(model.weights[5:]).name}",
        weights_sha256=hash_weights(network),
        classes=classes,
        backbone=Backbone(_trace(network, preprocessing.size), preprocessing),
        reference=reference,
        class_names=_imagenet_names() if classes == 1000 else None,
    )


def _trace(network: torch.nn.Module, size: int) -> onnx.ModelProto:
    """Export a network to ONNX: float32 [N,3,S,S] -> logits [N,C], dynamic in N."""
    example = torch.zeros(2, 3, size, size)  # a batch of 1 would be taken for a constant
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter warns of its own deprecations
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            input_names=["pixels"],
            output_names=["logits"],
            verbose=False,
        )
    model: onnx.ModelProto = program.model_proto
    return model


def _imagenet_names() -> tuple[str, ...]:
    info = timm.data.ImageNetInfo("imagenet-1k")
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))


def _from_onnx(model: OnnxModel) -> Classifier:
    if not model.path.is_file():
        raise PairError(f"no ONNX file '{model.path}'")
    try:
        graph = onnx.load(str(model.path))
        session = open_session(model.path, cpu_only=True)
    except Exception as reason:  # protobuf and ONNX Runtime each raise their own
        raise GraphError(f"'{model.path}' is not a readable ONNX model: {str(reason).splitlines()[0]}") from reason
    classes = _check_classifier(session, model)
    source, target = session.get_inputs()[0].name, session.get_outputs()[0].name

    def reference(images: Images) -> Scores:
        scores: Scores = session.run([target], {source: images})[0]
        return _softmax(scores) if model.scores == "logits" else scores

    return Classifier(
        name=model.path.stem,
        source=f"onnx:{model.path.name}",
        weights_sha256=hashlib.sha256(model.path.read_bytes()).hexdigest(),
        classes=classes,
        backbone=Backbone(_at_our_opset(graph, model.path), model.preprocessing, model.scores),
        reference=reference,
        class_names=None,
    )


def _check_classifier(session: onnxruntime.InferenceSession, model: OnnxModel) -> int:
    """The number of classes, after refusing whatever cannot become a stage."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1:
        raise GraphError(f"'{model.path}' has {len(inputs)} inputs; a classifier has one, the image")
    size = model.preprocessing.size
    batch, *shape = inputs[0].shape or [None]
    wanted = [3, size, size]
    fits = len(shape) == 3 and all(
        have in (want, None) or isinstance(have, str) for have, want in zip(shape, wanted, strict=True)
    )
    if inputs[0].type != "tensor(float)" or not fits:
        raise GraphError(
            f"'{model.path}' takes {inputs[0].type} {inputs[0].shape}; "
            f"it must take float images [batch, {', '.join(map(str, wanted))}]"
        )
    if isinstance(batch, int):
        raise GraphError(f"'{model.path}' has a fixed batch of {batch}; export it with a dynamic batch")
    classes = outputs[0].shape[-1]
    if len(outputs[0].shape) != 2 or not isinstance(classes, int) or classes < 2:
        raise GraphError(f"'{model.path}' answers {outputs[0].shape}; its first output must be [batch, classes]")
    return classes


def _at_our_opset(graph: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    version = next(opset.version for opset in graph.opset_import if opset.domain in ("", "ai.onnx"))
    if version != OPSET:
        try:
            graph = onnx.version_converter.convert_version(graph, OPSET)
        except Exception as reason:  # the converter raises RuntimeError for unknown operators
            raise GraphError(f"'{path}' cannot be brought from opset {version} to {OPSET}: {reason}") from reason
    graph.ir_version = IR_VERSION
    first_output = graph.graph.output[0]
    del graph.graph.output[:]
    graph.graph.output.append(first_output)
    return graph


def _softmax(scores: Scores) -> Scores:
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True), np.float32)
