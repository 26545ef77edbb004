"""Which decoder `preprocess` uses: Pillow, or nvImageCodec with a resize that ONNX Runtime computes beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc import model_config_pb2

from littlebig_export.config_pbtxt import Config, set_parameter
from littlebig_export.errors import PairError
from littlebig_export.preprocessing import Preprocessing

PILLOW, NVIMAGECODEC = DECODERS = ("pillow", "nvimagecodec")
# As model_repository/preprocess/1/littlebig_nvimagecodec.py names them: whether rows become columns first.
_RESIZE = {"resize.onnx": False, "resize_turned.onnx": True}
_MODES = {"bilinear": "linear", "bicubic": "cubic"}


def decode_mode(decoder: str) -> str:
    """The parameter `decode` of preprocess, which littlebig.json and calibrations record: nvImageCodec cannot scale."""
    return "scaled" if decoder == PILLOW else "full"


def check_decoder(decoder: str, canonical: Preprocessing) -> None:
    """Refuse a decoder that cannot make a pair's canonical image.

    Raises:
        PairError: if its resize has another filter than the big model's transform.
    """
    if decoder == NVIMAGECODEC and canonical.interpolation not in _MODES:
        raise PairError(
            f"--decoder {decoder} resizes by {' or '.join(_MODES)}, and the big model's transform is "
            f"{canonical.interpolation}: leave the option out"
        )


def use_nvimagecodec(config: Config, version: Path, canonical: Preprocessing, on_gpu: bool) -> None:
    """Let preprocess decode JPEG by nvImageCodec, and write the resize into its version folder.

    Args:
        config: of preprocess; changed.
        version: its version folder.
        canonical: the big model's preprocessing.
        on_gpu: whether the instances are on the GPU.
    """
    kind = "KIND_GPU" if on_gpu else "KIND_CPU"
    config.message.instance_group[0].kind = getattr(model_config_pb2.ModelInstanceGroup, kind)
    set_parameter(config.message, "decoder", NVIMAGECODEC)
    config.comments[""] = [
        "# From an encoded picture to the canonical image: decode, upright, RGB, resize, centre crop."
    ]
    config.comments["parameters[decoder]"] = [
        "# JPEG by nvImageCodec on the instance's device, with the resize in resize*.onnx; all else, and what it",
        "# cannot decode, by Pillow.",
    ]
    write_resize(canonical, version)


def write_resize(canonical: Preprocessing, folder: Path) -> None:
    """Write both graphs of the resize."""
    for name, turned in _RESIZE.items():
        onnx.save(_resize_graph(canonical, turned), folder / name)


def _resize_graph(canonical: Preprocessing, turned: bool) -> onnx.ModelProto:
    """Resize a whole picture with Pillow's antialiased filter, and cut out the canonical image.

    Inputs: picture uint8 [height, width, 3]; sizes int64 [4], `1, 3, height, width` of the resized picture; starts
    int64 [2], y and x of the crop. Output: image uint8 [size, size, 3].
    """
    size = canonical.size
    nodes = [
        helper.make_node("Transpose", ["picture"], ["planes"], perm=[2, 1, 0] if turned else [2, 0, 1]),
        helper.make_node("Unsqueeze", ["planes", "first"], ["batch"]),
        helper.make_node(
            "Resize",
            ["batch", "", "", "sizes"],
            ["resized"],
            mode=_MODES[canonical.interpolation],
            antialias=1,
            cubic_coeff_a=-0.5,
            exclude_outside=1,
        ),
        helper.make_node("Add", ["starts", "side"], ["ends"]),
        helper.make_node("Slice", ["resized", "starts", "ends", "rows_and_columns"], ["cut"]),
        helper.make_node("Squeeze", ["cut", "first"], ["kept"]),
        helper.make_node("Transpose", ["kept"], ["image"], perm=[1, 2, 0]),
    ]
    constants = {"first": [0], "side": [size, size], "rows_and_columns": [2, 3]}
    graph = helper.make_graph(
        nodes,
        "resize",
        [
            helper.make_tensor_value_info("picture", TensorProto.UINT8, ["height", "width", 3]),
            helper.make_tensor_value_info("sizes", TensorProto.INT64, [4]),
            helper.make_tensor_value_info("starts", TensorProto.INT64, [2]),
        ],
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [size, size, 3])],
        [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model
