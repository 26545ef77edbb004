"""Exports a PyTorch network to ONNX; what the exporter has to say about a failure becomes one line."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import onnx
import torch

from littlebig_export.errors import GraphError
from littlebig_export.rewriting import rewrite_for_tensorrt
from littlebig_export.stage_graph import OPSET
from littlebig_export.weight_files import lighten_program


def export_network(network: torch.nn.Module, size: int, name: str) -> onnx.ModelProto:
    """Export a network to ONNX: float32 [N,3,S,S] -> logits [N,C], dynamic in N.

    Fused attention is tried first, as timm made the network, and plain attention where the exporter cannot trace that.

    Args:
        network: in evaluation mode; left with plain attention if that was needed.
        size: height and width of its input, in pixels.
        name: the model's, for the message.

    Raises:
        GraphError: if the exporter can do neither; one line.
    """
    while True:
        try:
            return _export(network, size)
        except Exception as reason:  # the exporter wraps and lets through almost any exception
            fused = [module for module in network.modules() if getattr(module, "fused_attn", False)]
            if not fused:
                raise GraphError(
                    f"'{name}' cannot be exported to ONNX by torch {torch.__version__}: {_root_cause(reason)}; choose "
                    "another model, or bring an ONNX file of it"
                ) from reason
            for module in fused:
                module.fused_attn = False


def _export(network: torch.nn.Module, size: int) -> onnx.ModelProto:
    example = torch.zeros(2, 3, size, size)  # a batch of 1 would be taken for a constant
    with _silence():
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
    return rewrite_for_tensorrt(lighten_program(program))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep the exporter's deprecation warnings, logs and progress from the user, who gets one line."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _root_cause(reason: BaseException) -> str:
    """The innermost exception's first line: the outer ones describe the exporter's stages."""
    while reason.__cause__ is not None:
        reason = reason.__cause__
    lines = [line.strip() for line in str(reason).splitlines() if line.strip()]
    return f"{type(reason).__name__}: {lines[0]}" if lines else type(reason).__name__
