"""Converts a backbone to the precision of its engine: TensorRT takes it from the types in the graph.

TensorRT 11 and TensorRT-RTX are always strongly typed, and 10 is used that way: a tensor that is FP16 in the graph is
FP16 in the engine. The backbone's input and output stay FP32, and with them resampling, softmax and confidence. Nodes
that half precision would break stay in FP32 between two casts; `keep_reasons` finds them.
"""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from littlebig_export.errors import GraphError
from littlebig_export.skeleton import inferred
from littlebig_export.weight_files import keep_folder, store, values, weights_folder

PRECISIONS = ("fp16", "bf16", "fp32")
# Activations on other pictures may be this much larger than on the measured ones.
HEADROOM = 4.0
_ELEMENTS = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
_LARGEST_HALF = 65504.0
_ROUNDS_TO_ZERO = 2.0**-25
# In bounds and masks the largest half has the effect of any larger number.
_SATURATING = ("Clip", "Where")


def keep_reasons(
    model: onnx.ModelProto,
    precision: str,
    patterns: Sequence[str] = (),
    largest: Mapping[str, float] | None = None,
) -> dict[str, str]:
    """The nodes that must stay in FP32, with the reason.

    Args:
        model: a backbone in FP32, as `with_node_names` returns it.
        precision: `fp16`, `bf16` or `fp32`.
        patterns: the pair's `fp32`: shell patterns for a node's name, operator, module (`stages.3.blocks.1`) or
            module class (`LiteMLA`).
        largest: tensor -> its largest absolute value on photographs.

    Returns:
        Node name -> reason, in the order of the graph.

    Raises:
        GraphError: if a pattern matches no node.
    """
    if precision == "fp32":
        return {}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    reached, folder = largest or {}, weights_folder(model)
    reasons: dict[str, str] = {}
    matched: set[str] = set()
    for node in model.graph.node:
        hits = {pattern for pattern in patterns if any(fnmatch.fnmatchcase(word, pattern) for word in _words(node))}
        matched |= hits
        # Both the node that makes a large value and those that read it.
        peaks = [reached.get(name, 0.0) for name in (*node.input, *node.output)]
        far = [value for value in peaks if not value <= _LARGEST_HALF / HEADROOM]  # includes NaN
        misfits = [_misfit(node, constants[name], folder) for name in node.input if name in constants]
        if hits:
            reasons[node.name] = f"the pair's fp32 names '{min(hits)}'"
        elif any(attribute.name == "dtype" or attribute.g.node for attribute in node.attribute):
            reasons[node.name] = "its types are written into it"
        elif precision == "fp16" and any(misfits):
            reasons[node.name] = next(filter(None, misfits))
        elif precision == "fp16" and far:
            reasons[node.name] = f"a value reached {max(far):.3g} on photographs"
    unused = sorted(set(patterns) - matched)
    if unused:
        raise GraphError(f"the pair's fp32 pattern '{unused[0]}' matches no node; name a node, operator or module")
    return reasons


def to_precision(model: onnx.ModelProto, precision: str, keep: Mapping[str, str]) -> onnx.ModelProto:
    """A backbone that computes in another precision, with FP32 input and output.

    Args:
        model: FP32, as `with_node_names` returns it.
        precision: `fp16`, `bf16`, or `fp32` for no change.
        keep: the nodes that stay in FP32, from `keep_reasons`.

    Raises:
        GraphError: if the types in the graph cannot be inferred.
    """
    return model if precision == "fp32" else _Lowering(model, _ELEMENTS[precision], keep).result()


def with_node_names(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model, changed in place so that every node has a unique name."""
    seen: set[str] = set()
    for index, node in enumerate(model.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{index}"
        seen.add(node.name)
    return model


def float_tensors(model: onnx.ModelProto) -> set[str]:
    """Names of all FP32 tensors of a graph except its constants.

    Raises:
        GraphError: if the types cannot be inferred.
    """
    return {value.name for value in inferred(model) if value.type.tensor_type.elem_type == TensorProto.FLOAT}


class _Lowering:
    """One pass over the nodes in order, which casts each float input to the type that its node computes in."""

    def __init__(self, model: onnx.ModelProto, element: int, keep: Mapping[str, str]) -> None:
        self.model = model
        self.element = element
        self.keep = keep
        self.floats = float_tensors(model)
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
        # The type of each float tensor as its producer makes it; the graph's inputs are FP32.
        self.types: dict[str, int] = {value.name: TensorProto.FLOAT for value in model.graph.input}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def result(self) -> onnx.ModelProto:
        for node in self.model.graph.node:
            self._add(node)
        for output in self.model.graph.output:
            self._end_in_float(output.name)
        outer = {value.name for value in (*self.model.graph.input, *self.model.graph.output)}
        inner = [
            helper.make_tensor_value_info(name, element, None)
            for name, element in self.types.items()
            if name not in outer
        ]
        ends = list(self.model.graph.input), list(self.model.graph.output)
        graph = helper.make_graph(self.nodes, self.model.graph.name, *ends, value_info=inner)
        lowered = helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        while self.initializers:  # one by one: the helpers above would copy all weights again
            lowered.graph.initializer.append(self.initializers.pop(next(iter(self.initializers))))
        return keep_folder(lowered, self.model)

    def _add(self, node: onnx.NodeProto) -> None:
        changed = onnx.NodeProto()
        changed.CopyFrom(node)
        low = node.name not in self.keep
        half_in, half_out = _half_ports(node, self.opset)
        for index, name in enumerate(node.input):
            wanted = self.element if low and half_in(index) else TensorProto.FLOAT
            changed.input[index] = self._operand(name, wanted)
        if low:
            _lower_attributes(changed, self.element)
        for index, name in enumerate(node.output):
            if name in self.floats:
                self.types[name] = self.element if low and half_out(index) else TensorProto.FLOAT
        self.nodes.append(changed)

    def _operand(self, name: str, wanted: int) -> str:
        """The name of a tensor in the wanted type; other types than floats keep theirs."""
        constant = self.constants.get(name)
        if constant is not None:
            if constant.data_type != TensorProto.FLOAT or wanted == TensorProto.FLOAT:
                self.initializers[name] = constant
                return name
            lowered = f"{name}/low"
            if lowered not in self.initializers:
                self.initializers[lowered] = _lower(constant, self.element, lowered, weights_folder(self.model))
            return lowered
        if name not in self.floats or self.types[name] == wanted:
            return name
        cast = f"{name}/{'low' if wanted == self.element else 'float'}"
        if cast not in self.types:
            self.nodes.append(helper.make_node("Cast", [name], [cast], name=cast, to=wanted))
            self.types[cast] = wanted
        return cast

    def _end_in_float(self, name: str) -> None:
        if self.types.get(name) != self.element:
            return
        inner = f"{name}/inner"
        for node in self.nodes:
            node.input[:] = [inner if value == name else value for value in node.input]
            node.output[:] = [inner if value == name else value for value in node.output]
        self.nodes.append(helper.make_node("Cast", [inner], [name], name=f"{name}/float", to=TensorProto.FLOAT))
        self.types[inner] = self.types.pop(name)


def _half_ports(node: onnx.NodeProto, opset: int) -> tuple[Callable[[int], bool], Callable[[int], bool]]:
    """Whether an operator's inputs and outputs may be halves, from its ONNX schema (Resize's scales may not)."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    except onnx.defs.SchemaError:
        return (lambda _: False), (lambda _: False)
    types = {entry.type_param_str: entry.allowed_type_strs for entry in schema.type_constraints}

    def ports(parameters: Sequence[onnx.defs.OpSchema.FormalParameter]) -> Callable[[int], bool]:
        allowed = ["tensor(float16)" in types.get(each.type_str, [each.type_str]) for each in parameters]
        return lambda index: allowed[min(index, len(allowed) - 1)]  # the last one may be variadic

    return ports(schema.inputs), ports(schema.outputs)


def _lower_attributes(node: onnx.NodeProto, element: int) -> None:
    """Change the float types in an operator's attributes."""
    if node.op_type == "ConstantOfShape" and not node.attribute:
        node.attribute.append(
            helper.make_attribute("value", helper.make_tensor("value", element, [1], b"\0\0", raw=True))
        )
    for attribute in node.attribute:
        if attribute.name == "to" and node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
            attribute.i = element
        elif attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(_lower(attribute.t, element, attribute.t.name))
        elif attribute.name in ("value_float", "value_floats"):
            numbers = attribute.f if attribute.name == "value_float" else list(attribute.floats)
            tensor = numpy_helper.from_array(np.array(numbers, np.float32), "value")
            attribute.CopyFrom(helper.make_attribute("value", _lower(tensor, element, "value")))


def _lower(tensor: onnx.TensorProto, element: int, name: str, folder: Path | None = None) -> onnx.TensorProto:
    return store(name, element, tuple(tensor.dims), _bits(values(tensor, folder), element), folder)


def _bits(numbers: npt.NDArray[np.float32], element: int) -> npt.NDArray[np.uint16]:
    """The 16 bits of each value, rounded to the nearest even; in FP16 finite values stay finite."""
    if element == TensorProto.FLOAT16:
        bounded = np.where(np.isinf(numbers), numbers, np.clip(numbers, -_LARGEST_HALF, _LARGEST_HALF))
        return bounded.astype(np.float16).view(np.uint16)
    whole = np.ascontiguousarray(numbers, np.float32).view(np.uint32)  # NumPy has no bfloat16 of its own
    return ((whole + 0x7FFF + ((whole >> 16) & 1)) >> 16).astype(np.uint16)


def _misfit(node: onnx.NodeProto, tensor: onnx.TensorProto, folder: Path | None) -> str:
    """Why a constant keeps its node in FP32, or an empty string."""
    if tensor.data_type != TensorProto.FLOAT or not np.prod(tensor.dims):
        return ""
    magnitudes = np.abs(values(tensor, folder))
    largest = float(magnitudes.max(initial=0.0, where=np.isfinite(magnitudes)))
    if largest > _LARGEST_HALF and node.op_type not in _SATURATING:
        return f"constant {largest:.3g} is beyond FP16"
    if magnitudes.size == 1 and 0.0 < largest <= _ROUNDS_TO_ZERO:
        return f"constant {largest:.3g} is zero in FP16"
    return ""


def _words(node: onnx.NodeProto) -> Iterator[str]:
    """What a pattern is matched with: a node's name, operator, module and module class."""
    yield node.name
    yield node.op_type
    facts = {entry.key: entry.value for entry in node.metadata_props}
    # torch's exporter lists them from the whole network down to the operator.
    for key in ("pkg.torch.onnx.class_hierarchy", "pkg.torch.onnx.name_scopes"):
        try:
            levels = ast.literal_eval(facts.get(key, "[]"))
        except (SyntaxError, ValueError):
            continue
        if len(levels) > 1:
            yield str(levels[-2]).rsplit(".", 1)[-1] if "class" in key else str(levels[-2])
