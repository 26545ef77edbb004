"""Preprocessing inside Triton costs what its Pillow calls cost."""

import io
import statistics
import time
from pathlib import Path

import numpy as np
import skimage
import tritonclient.grpc
from littlebig_preprocess import canonical_image
from PIL import Image
from tests.unit.preprocess.reference import settings

SETTINGS = settings(260, 292)


def test_a_batch_costs_at_most_a_fifth_more_than_the_same_pillow_calls_in_a_loop(triton):
    """Triton's own compute time of the model against a loop here, in turns, so that both meet the same machine."""
    buffer = io.BytesIO()
    Image.open(Path(skimage.__file__).parent / "data" / "coffee.png").convert("RGB").save(buffer, "JPEG", quality=90)
    batch = np.array([[buffer.getvalue()]] * 16, object)
    tensor = tritonclient.grpc.InferInput("encoded_image", list(batch.shape), "BYTES")
    tensor.set_data_from_numpy(batch)
    ratios = []
    for _ in range(9):
        before = triton.get_inference_statistics("preprocess").model_stats[0].inference_stats.compute_infer.ns
        served = triton.infer("preprocess", [tensor]).as_numpy("image")
        after = triton.get_inference_statistics("preprocess").model_stats[0].inference_stats.compute_infer.ns
        started = time.perf_counter_ns()
        looped = np.stack([canonical_image(picture, SETTINGS) for picture in batch[:, 0]])
        ratios.append((after - before) / (time.perf_counter_ns() - started))
        assert np.array_equal(served, looped)
    print(f"preprocess / loop: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    assert statistics.median(ratios) <= 1.2
