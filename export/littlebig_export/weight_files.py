"""Keeps the weights of large graphs in files.

In memory every copy of a graph would cost its weights again, and protobuf serialises no more than 2 GiB. A graph whose
weights are files holds references to them, and says in its metadata in which folder they are. Such a graph is copied,
joined, rewritten and opened as any other; the functions here read and write what it refers to.
"""

from __future__ import annotations

import functools
import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from littlebig_contract.onnx_runtime import open_session

# Graphs with more bytes of weights than this keep them in files.
LARGE = 200_000_000
# Tensors of fewer numbers stay in the graph: they may be shapes that a Reshape takes.
LARGEST_SHAPE = 1024
_FOLDER = "littlebig.weights"
_PIECE = 1 << 24


def weights_folder(model: onnx.ModelProto) -> Path | None:
    """The folder of a graph's weights; None if it holds them itself."""
    return next((Path(entry.value) for entry in model.metadata_props if entry.key == _FOLDER), None)


def keep_folder(model: onnx.ModelProto, source: onnx.ModelProto) -> onnx.ModelProto:
    """Say of a graph that was made from `source` where its weights are; returns the graph."""
    folder = weights_folder(source)
    if folder and not weights_folder(model):
        model.metadata_props.add(key=_FOLDER, value=str(folder))
    return model


def weight_bytes(model: onnx.ModelProto) -> int:
    """Size of a graph's weights, wherever they are."""
    return sum(
        math.prod(tensor.dims) * np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
        for tensor in model.graph.initializer
    )


def load_light(path: Path, *, copy: bool = True) -> onnx.ModelProto:
    """Read an ONNX file; of a large one, without its weights, which are copied into a folder of this process.

    Args:
        path: the file.
        copy: whether its folder is somebody else's.

    Raises:
        OSError: if a file with weights is missing or the copy cannot be written.
    """
    model = onnx.load(str(path), load_external_data=False)
    if weight_bytes(model) <= LARGE:
        return onnx.load(str(path))
    folder = _new_folder() if copy else path.parent
    external = [tensor for tensor in model.graph.initializer if uses_external_data(tensor)]
    for location in {ExternalDataInfo(tensor).location for tensor in external} if copy else ():
        (folder / location).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / location, folder / location)
    model.metadata_props.add(key=_FOLDER, value=str(folder))
    for tensor in external:
        if math.prod(tensor.dims) <= LARGEST_SHAPE:
            tensor.CopyFrom(numpy_helper.from_array(np.array(values(tensor, folder)), tensor.name))
    _spill(model, folder)
    return model


def lighten(model: onnx.ModelProto) -> onnx.ModelProto:
    """Move a large graph's weights into files, in place; returns the graph."""
    if weights_folder(model) is None and weight_bytes(model) > LARGE:
        folder = _new_folder()
        model.metadata_props.add(key=_FOLDER, value=str(folder))
        _spill(model, folder)
    return model


def lighten_program(program: Any) -> onnx.ModelProto:
    """The graph of torch's ONNX program: a large one's weights go from the network to files, without a copy.

    Args:
        program: a `torch.onnx.ONNXProgram`.
    """
    sizes = (math.prod(value.shape) * 4 for value in program.model.graph.initializers.values())
    if sum(sizes) <= LARGE:
        model: onnx.ModelProto = program.model_proto
        return model
    folder = _new_folder()
    program.save(str(folder / "torch.onnx"), external_data=True)
    return load_light(folder / "torch.onnx", copy=False)


def values(tensor: TensorProto, folder: Path | None) -> npt.NDArray[Any]:
    """The numbers of a tensor; those of a file are mapped, not read."""
    if not uses_external_data(tensor) or folder is None:
        return np.asarray(numpy_helper.to_array(tensor))
    info = ExternalDataInfo(tensor)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return np.memmap(folder / info.location, dtype, "r", offset=info.offset or 0, shape=tuple(tensor.dims))


def store(name: str, element: int, dims: tuple[int, ...], data: npt.NDArray[Any], folder: Path | None) -> TensorProto:
    """A tensor with the bytes of `data`: in a file if `folder` is given and they are many."""
    tensor = TensorProto(name=name, data_type=element, dims=dims)
    if folder is None or math.prod(dims) <= LARGEST_SHAPE:
        tensor.raw_data = np.ascontiguousarray(data).tobytes()
        return tensor
    with (folder / "weights").open("ab") as file:
        offset = file.tell()
        data.tofile(file)
        _refer(tensor, "weights", offset, file.tell() - offset)
    return tensor


def open_graph(model: onnx.ModelProto, *, threads: int | None = None, cpu_only: bool = False) -> Any:
    """An ONNX Runtime session of a graph."""
    return open_session(model.SerializeToString(), threads=threads, cpu_only=cpu_only, weights=weights_folder(model))


def save_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write an ONNX file, with the weights of a large graph beside it in `NAME.data`."""
    lighten(model)
    folder = weights_folder(model)
    if folder is None:
        onnx.save(model, str(path))
        return
    saved = onnx.ModelProto()
    saved.CopyFrom(model)
    kept = [entry for entry in model.metadata_props if entry.key != _FOLDER]
    del saved.metadata_props[:]
    saved.metadata_props.extend(kept)
    beside = path.with_name(f"{path.name}.data")
    with beside.open("wb") as target:
        for tensor in saved.graph.initializer:
            if uses_external_data(tensor):
                info = ExternalDataInfo(tensor)
                offset = target.tell()
                _copy(folder / info.location, info.offset or 0, values(tensor, folder).nbytes, target)
                _refer(tensor, beside.name, offset, target.tell() - offset)
    onnx.save(saved, str(path))


def load_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph that holds its weights itself."""
    folder = weights_folder(model)
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    for tensor in whole.graph.initializer:
        if uses_external_data(tensor):
            tensor.CopyFrom(numpy_helper.from_array(np.array(values(tensor, folder)), tensor.name))
    del whole.metadata_props[:]
    return whole


def _spill(model: onnx.ModelProto, folder: Path) -> None:
    for tensor in model.graph.initializer:
        if not uses_external_data(tensor) and math.prod(tensor.dims) > LARGEST_SHAPE:
            data = numpy_helper.to_array(tensor)
            tensor.CopyFrom(store(tensor.name, tensor.data_type, tuple(tensor.dims), data, folder))


def _refer(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    """Let a tensor refer to bytes of a file, by a path relative to its graph's."""
    del tensor.external_data[:]
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    tensor.data_location = TensorProto.EXTERNAL


def _copy(source: Path, offset: int, length: int, target: Any) -> None:
    with source.open("rb") as file:
        file.seek(offset)
        while length > 0:
            piece = file.read(min(_PIECE, length))
            if not piece:
                raise OSError(f"'{source}' ends early")
            target.write(piece)
            length -= len(piece)


@functools.cache
def _root() -> tempfile.TemporaryDirectory[str]:
    """Where this process keeps weights; removed when it ends."""
    return tempfile.TemporaryDirectory(prefix="littlebig-weights-")


def _new_folder() -> Path:
    return Path(tempfile.mkdtemp(dir=_root().name))
