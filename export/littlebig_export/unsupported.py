"""Names what of a graph no TensorRT engine can be built from, on machines that have no TensorRT to ask."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import TensorProto

# Operators of ONNX that the parser of TensorRT-RTX 1.7.1 says it does not support; a test asks the installed one.
OPERATORS = frozenset(
    {"AffineGrid", "Bernoulli", "BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"}
    | {"CenterCropPad", "Col2Im", "Compress", "ConcatFromSequence", "ConvInteger", "CumProd", "DFT", "DeformConv"}
    | {"Det", "DynamicQuantizeLinear", "ImageDecoder", "MatMulInteger", "MaxRoiPool", "MaxUnpool", "MelWeightMatrix"}
    | {"Multinomial", "NegativeLogLikelihoodLoss", "Optional", "OptionalGetElement", "OptionalHasElement"}
    | {"QLinearConv", "QLinearMatMul", "RegexFullMatch", "SequenceAt", "SequenceConstruct", "SequenceEmpty"}
    | {"SequenceErase", "SequenceInsert", "SequenceLength", "SequenceMap", "SoftmaxCrossEntropyLoss"}
    | {"SplitToSequence", "StringConcat", "StringNormalizer", "StringSplit", "SwiGLU", "TfIdfVectorizer", "Unique"}
)


def unsupported_by_tensorrt(model: onnx.ModelProto) -> list[str]:
    """What TensorRT's parser is known not to take, each once: `Det`, `com.microsoft.Gelu`, `antialiased Resize`.

    Args:
        model: a stage's graph.
    """
    return list(dict.fromkeys(_unsupported(model.graph)))


def _unsupported(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.domain not in ("", "ai.onnx"):
            yield f"{node.domain}.{node.op_type}"
        elif node.op_type in OPERATORS:
            yield node.op_type
        elif node.op_type == "Resize" and "antialias" in attributes and attributes["antialias"].i:
            yield "antialiased Resize"
        elif node.op_type == "Cast" and attributes["to"].i == TensorProto.UINT8:
            yield "Cast to uint8"
        for attribute in node.attribute:
            yield from _unsupported(attribute.g)
