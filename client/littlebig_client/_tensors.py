"""The tensors of a request: an encoded picture or canonical images, in the request itself or in shared memory."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray

from littlebig_client._shared_memory import Region


@dataclass(frozen=True)
class Tensor:
    """One input of a request.

    Attributes:
        name: the input's name.
        shape: with the batch dimension.
        datatype: Triton's name of it.
        array: what tritonclient sends.
        raw: the same as Triton lays it out in memory.
        size: bytes of `raw`.
    """

    name: str
    shape: list[int]
    datatype: str
    array: NDArray[Any]
    raw: Callable[[], list[Any]]
    size: int

    def with_data(self) -> triton.InferInput:
        """The input with its data."""
        return triton.InferInput(self.name, self.shape, self.datatype).set_data_from_numpy(self.array)

    def in_region(self, region: Region) -> triton.InferInput:
        """Write the data into a region, and return the input that points to it."""
        tensor = triton.InferInput(self.name, self.shape, self.datatype)
        return tensor.set_shared_memory(region.name, region.write(self.raw()))


def picture_tensor(data: bytes) -> Tensor:
    """`encoded_image` BYTES [1,1] of one encoded picture."""
    array = np.array([[data]], dtype=np.object_)
    return Tensor("encoded_image", [1, 1], "BYTES", array, lambda: [struct.pack("<I", len(data)), data], 4 + len(data))


def images_tensor(images: NDArray[np.uint8]) -> Tensor:
    """`image` UINT8 [N,H,W,3] of canonical images."""
    return Tensor(
        "image", list(images.shape), "UINT8", images, lambda: [np.ascontiguousarray(images)], int(images.nbytes)
    )
