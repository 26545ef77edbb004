"""JPEG by NVIDIA's nvImageCodec, and the resize by ONNX Runtime beside it, so that a picture stays on the GPU.

Header, limits and costs are checked as ever, and what nvImageCodec does not decode goes Pillow's way. Without a GPU
both libraries compute on the CPU, by the same code: that is how the tests compare them with Pillow.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from littlebig_jpeg import JpegPicture
from littlebig_preprocess import Job
from littlebig_quoting import quoted

_LOG = logging.getLogger(__name__)
# The resize, of pictures as they are stored and of those on their side: the order of the two passes matters.
_RESIZE, _RESIZE_TURNED = "resize.onnx", "resize_turned.onnx"
# The whole resized picture is computed before the crop; of a long and narrow one Pillow computes the crop alone.
_MOST_RESIZED = 4
# libjpeg's way to enlarge the colours, which Pillow uses.
_OPTIONS = ":fancy_upsampling=1"
_CUDA = "CUDAExecutionProvider"
_PARAMETER = "parameter 'decoder' = 'nvimagecodec'"


@dataclass(frozen=True)
class _Window:
    """How a decoded picture becomes the canonical image.

    Attributes:
        turned: whether rows become columns first.
        sizes: of the resized picture, 1, 3, height, width.
        starts: of the crop, y and x.
        flips: of the crop, which make it upright.
    """

    turned: bool
    sizes: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    flips: tuple[slice, slice]


class NvImageCodec:
    """Makes canonical images on one device."""

    def __init__(self, folder: Path, gpu: int | None) -> None:
        """Load the libraries.

        Args:
            folder: where the export writes the resize.
            gpu: its index; None for the CPU.

        Raises:
            ValueError: in one line, if a library is missing or does not start here.
        """
        try:
            import onnxruntime  # noqa: PLC0415  needed with this decoder alone
            from nvidia import nvimgcodec  # noqa: PLC0415
        except ImportError as missing:
            raise ValueError(
                f"{_PARAMETER} needs a package ({quoted(missing)}): pip install 'littlebig[nvimagecodec]'"
            ) from None
        self._codec, self._local, self._gpu = nvimgcodec, threading.local(), gpu
        self._parameters = nvimgcodec.DecodeParams(
            apply_exif_orientation=False, color_spec=nvimgcodec.SRGB, sample_format=nvimgcodec.I_RGB
        )
        self._place = ("cpu", 0) if gpu is None else ("cuda", gpu)
        provider: Any = "CPUExecutionProvider" if gpu is None else (_CUDA, {"device_id": str(gpu)})
        if gpu is not None and _CUDA not in onnxruntime.get_available_providers():
            raise ValueError(
                f"{_PARAMETER} resizes by ONNX Runtime's {_CUDA}, which is missing: pip uninstall -y onnxruntime, then "
                "pip install 'littlebig[cuda]'"
            )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            if gpu is not None and hasattr(onnxruntime, "preload_dlls"):
                onnxruntime.preload_dlls()
            self._resize = [
                onnxruntime.InferenceSession(str(folder / name), options, [provider], enable_fallback=False)
                for name in (_RESIZE, _RESIZE_TURNED)
            ]
            self._decoder()
        except Exception as reason:
            where = "the CPU" if gpu is None else f"GPU {gpu}"
            raise ValueError(f"{_PARAMETER} does not work on {where}: {quoted(reason)}") from None

    def image(self, job: Job) -> npt.NDArray[np.uint8]:
        """The canonical image of a job.

        Returns:
            uint8 RGB array of shape [size, size, 3].

        Raises:
            BadImage: if the file is damaged.
        """
        picture = job.picture
        if isinstance(picture, JpegPicture) and picture.is_common and (window := _window(job)):
            try:
                decoded = self._decoder().decode(picture.data, params=self._parameters)
                if decoded is not None:
                    return self._resized(decoded, window)
            except Exception as reason:
                _LOG.warning("nvImageCodec fails, Pillow decodes instead: %s", quoted(reason))
        return job.image()  # which also says what is damaged

    def _resized(self, decoded: Any, window: _Window) -> npt.NDArray[np.uint8]:
        interface = decoded.__array_interface__ if self._gpu is None else decoded.__cuda_array_interface__
        session = self._resize[window.turned]
        binding = session.io_binding()
        binding.bind_input("picture", *self._place, np.uint8, interface["shape"], interface["data"][0])
        binding.bind_cpu_input("sizes", window.sizes)
        binding.bind_cpu_input("starts", window.starts)
        binding.bind_output("image", "cpu")
        # nvImageCodec orders its work before that of the default stream, which this waits for.
        binding.synchronize_inputs()
        session.run_with_iobinding(binding)
        (image,) = binding.copy_outputs_to_cpu()
        return np.ascontiguousarray(image[window.flips])

    def _decoder(self) -> Any:
        """This thread's decoder: nothing says that one may serve several threads."""
        if not hasattr(self._local, "decoder"):
            codec = self._codec
            backends = [codec.Backend(codec.CPU_ONLY)] if self._gpu is None else None
            device = codec.NVIMGCODEC_DEVICE_CPU_ONLY if self._gpu is None else self._gpu
            self._local.decoder = codec.Decoder(
                device_id=device, max_num_cpu_threads=1, backends=backends, options=_OPTIONS
            )
        return self._local.decoder


def _window(job: Job) -> _Window | None:
    """How the whole picture is resized and cut; None where Pillow is better."""
    fit, picture = job.fit, job.picture
    turned = picture.orientation in (5, 6, 7, 8)
    across, down = fit.target(*((picture.height, picture.width) if turned else (picture.width, picture.height)))
    if min(across, down) < fit.size or across * down > _MOST_RESIZED * fit.resize**2:
        return None
    x, y = round((across - fit.size) / 2.0), round((down - fit.size) / 2.0)
    x_step = y_step = 1
    # An axis that runs against the stored one is cut from its other end, and turned around afterwards.
    if picture.orientation in (2, 3, 6, 7):
        x, x_step = across - fit.size - x, -1
    if picture.orientation in (3, 4, 7, 8):
        y, y_step = down - fit.size - y, -1
    flips = slice(None, None, y_step), slice(None, None, x_step)
    return _Window(turned, np.array([1, 3, down, across]), np.array([y, x]), flips)
