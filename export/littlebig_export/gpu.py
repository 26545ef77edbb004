"""The GPUs of this machine, from NVIDIA's driver: an engine fits one kind, and a server has no CUDA toolkit."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from littlebig_export.errors import NotHereError

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


@dataclass(frozen=True)
class Gpu:
    """A GPU, by what TensorRT engines depend on.

    Attributes:
        name: as the driver calls it.
        compute_capability: major and minor, `8.9` for instance.
    """

    name: str
    compute_capability: str


def find_gpus(driver: Any = None) -> list[Gpu]:
    """The GPUs that this process may use (CUDA_VISIBLE_DEVICES decides), in the driver's order.

    Args:
        driver: the driver's library; the system's by default.

    Raises:
        NotHereError: if there is no driver, or it has no GPU.
    """
    if driver is None:
        try:
            driver = ctypes.CDLL("libcuda.so.1")
        except OSError:
            raise _none("there is no NVIDIA driver (libcuda.so.1)") from None
    status = driver.cuInit(0)
    if status != 0:
        raise _none(f"the NVIDIA driver does not start (cuInit: {status})")
    count = ctypes.c_int()
    driver.cuDeviceGetCount(ctypes.byref(count))
    if count.value == 0:
        raise _none("the NVIDIA driver shows none (CUDA_VISIBLE_DEVICES?)")
    return [_gpu(driver, index) for index in range(count.value)]


def cuda_version(driver: Any = None) -> str:
    """The newest CUDA that the driver runs, `12.4` for instance.

    Args:
        driver: the driver's library; the system's by default.
    """
    number = ctypes.c_int()
    (driver or ctypes.CDLL("libcuda.so.1")).cuDriverGetVersion(ctypes.byref(number))
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def _gpu(driver: Any, index: int) -> Gpu:
    name = ctypes.create_string_buffer(256)
    driver.cuDeviceGetName(name, len(name), index)
    numbers = []
    for attribute in (_MAJOR, _MINOR):
        number = ctypes.c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(number), attribute, index)
        numbers.append(str(number.value))
    return Gpu(name.value.decode(), ".".join(numbers))


def _none(reason: str) -> NotHereError:
    return NotHereError(
        f"no GPU: {reason}; engines are built on the GPU that serves them, 'littlebig check' tries a build without one"
    )
