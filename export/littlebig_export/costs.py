"""What a pair costs per image: parameters and multiply-accumulates counted from the graphs, and time measured."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import TensorProto

from littlebig_export.classifiers import count_without_weights, prepare
from littlebig_export.errors import GraphError
from littlebig_export.pair import Pair, TimmModel
from littlebig_export.skeleton import inferred
from littlebig_export.stage_graph import stage_graph, view_of_image
from littlebig_export.weight_files import open_graph

_RUNS = 10
_COUNTED = ("BatchNormalization", "Conv", "Gemm", "GridSample", "MatMul")
_BATCH_NORM = 2
_BILINEAR = 4


@dataclass(frozen=True)
class StageCost:
    """One stage's cost per image.

    Attributes:
        stage: `little` or `big`.
        model: its name.
        size: height and width of the backbone's input, in pixels.
        parameters: weights in the backbone's graph, batch norms folded in (InternImage: of the network).
        macs: multiply-accumulates of the backbone's convolutions and products.
        resampling_macs: those between the canonical image and the backbone's input.
        milliseconds: measured per image; None if not asked for.
    """

    stage: str
    model: str
    size: int
    parameters: int
    macs: int
    resampling_macs: int
    milliseconds: float | None = None


def pair_costs(
    pair: Pair, *, measure: bool = False, report: Callable[[str], None] = lambda line: None
) -> tuple[list[StageCost], int]:
    """Count, and measure if asked to, what little and big cost per image.

    Costs do not depend on weights, so timm's models are made without any and no hub is asked.

    Args:
        pair: which models.
        measure: also time both stages, with ONNX Runtime on the GPU if it finds one, else on the CPU.
        report: called with one line of progress per step.

    Returns:
        Little's and big's costs, and the side of the canonical image in pixels.

    Raises:
        ExportError: if a model cannot become a stage.
    """
    costs, canonical = [], None
    for stage, model in (("big", pair.big), ("little", pair.little)):
        graph = None
        # InternImage is counted without weights, because its largest has 12 GB of them.
        if isinstance(model, TimmModel) and model.architecture.startswith("internimage_") and not measure:
            name = model.architecture
            parameters, macs, own = count_without_weights(model)
            canonical = canonical or own
            resampling = sum(count_macs(view_of_image(own, canonical)).values())
        else:
            classifier = prepare(replace(model, weights="random") if isinstance(model, TimmModel) else model)
            name, own = classifier.name, classifier.backbone.preprocessing
            canonical = canonical or own
            graph = stage_graph(classifier.backbone, canonical)
            counted = count_macs(graph)
            parameters = count_parameters(classifier.backbone.model)
            macs = sum(count for tensor, count in counted.items() if tensor.startswith("backbone/"))
            resampling = sum(counted.values()) - macs
        report(f"{stage}: {name} counted")
        costs.append(
            StageCost(
                stage=stage,
                model=name,
                size=own.size,
                parameters=parameters,
                macs=macs,
                resampling_macs=resampling,
                milliseconds=milliseconds_per_image(graph, canonical.size) if measure and graph else None,
            )
        )
    assert canonical is not None  # noqa: S101  (both stages have been made)
    return costs[::-1], canonical.size


def _per_number(node: onnx.NodeProto, left: list[int], right: list[int]) -> int:
    """Multiply-accumulates for each number of a node's output."""
    if node.op_type == "BatchNormalization":
        return _BATCH_NORM
    if node.op_type == "GridSample":
        return _BILINEAR
    if node.op_type == "MatMul":
        return left[-1]
    if node.op_type == "Gemm":
        transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return left[0] if transposed else left[1]
    # torch's exporter says of a convolution's node which modules it was made from.
    folded = any("batch_norm" in entry.value for entry in node.metadata_props)
    return math.prod(right[1:]) + (_BATCH_NORM if folded else 0)  # kernel [out, in / groups, height, width]


def count_parameters(model: onnx.ModelProto) -> int:
    """How many numbers the weights of a graph hold."""
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)
    return sum(math.prod(tensor.dims) for tensor in model.graph.initializer if tensor.data_type in floats)


def count_macs(model: onnx.ModelProto) -> dict[str, int]:
    """Multiply-accumulates of one image, as timm's tables count them (fvcore's rules).

    Those of convolutions and matrix products, two per number that a batch norm scales, whether it stands alone or is
    folded into the convolution before it, and four per bilinear sample.

    Args:
        model: with a dynamic batch or a batch of one.

    Returns:
        Output tensor's name -> multiply-accumulates, for every node that counts.

    Raises:
        GraphError: if a shape that counts is dynamic.
    """
    shapes: dict[str, list[int]] = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    for value in inferred(model, batch=1):
        shapes[value.name] = [size.dim_value for size in value.type.tensor_type.shape.dim]
    macs = {}
    for node in model.graph.node:
        if node.op_type not in _COUNTED:
            continue
        output, left, right = shapes.get(node.output[0]), shapes.get(node.input[0]), shapes.get(node.input[1])
        if not output or not left or not right or 0 in (*output, *left, *right):
            raise GraphError(f"the cost of node '{node.name}' ({node.op_type}) is unknown: its shapes are dynamic")
        macs[node.output[0]] = math.prod(output) * _per_number(node, left, right)
    return macs


def milliseconds_per_image(graph: onnx.ModelProto, size: int) -> float:
    """Median time of one image through a stage, batch 1, after a warm-up.

    Args:
        graph: the stage.
        size: of the canonical image.
    """
    session = open_graph(graph)
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    session.run(["label", "confidence"], {"image": image})
    times = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        session.run(["label", "confidence"], {"image": image})
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def as_table(costs: list[StageCost], canonical_size: int) -> list[str]:
    """Lines for people."""
    rows: list[Mapping[str, str]] = []
    for cost in costs:
        row = {
            "stage": cost.stage,
            "model": cost.model,
            "input": f"{cost.size}x{cost.size}",
            "parameters": f"{cost.parameters / 1e6:.2f} M",
            "GMACs": f"{cost.macs / 1e9:.2f}",
            "resampling": f"{cost.resampling_macs / 1e9:.3f}",
        }
        if cost.milliseconds is not None:
            row["ms/image"] = f"{cost.milliseconds:.1f}"
        rows.append(row)
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    lines = ["  ".join(name.ljust(width) for name, width in widths.items()).rstrip()]
    lines += ["  ".join(row[name].ljust(width) for name, width in widths.items()).rstrip() for row in rows]
    little, big = costs
    share = (little.macs + little.resampling_macs) / (big.macs + big.resampling_macs)
    lines.append(
        f"canonical image {canonical_size}x{canonical_size}; a cascade costs {share:.1%} of big alone plus its "
        "escalation rate"
    )
    return lines
