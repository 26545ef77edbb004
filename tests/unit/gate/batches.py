"""Requests whose first pixel decides what the stages answer, and stages that are functions."""

import numpy as np
from littlebig_batch import Batch
from littlebig_errors import GateError, StageFailed
from littlebig_images import Images
from littlebig_metrics import Tally
from littlebig_overload import NO_SCALING
from littlebig_request import Options, Request
from littlebig_settings import GateSettings

OUTPUTS = ("label", "confidence", "stage")
RECEIVED = 100.0
LITTLE_STANDS_IN = GateSettings(0.5, on_big_failure="little")


def make_request(*pixels, outputs=OUTPUTS, timeout_us=0, threshold=0.5, policy="cascade"):
    """A request of one image per pixel value; little's confidence is the pixel / 100, its label the pixel."""
    images = np.zeros((len(pixels), 2, 2, 3), np.uint8)
    images[:, 0, 0, 0] = pixels
    return Request(None, Images(images, tensor=object()), outputs, timeout_us, Options(threshold, policy), RECEIVED)


def little(images, outputs, timeout_us):
    pixels = images.pixels[:, 0, 0, :1]
    answers = {
        "label": pixels.astype(np.int32),
        "confidence": pixels.astype(np.float32) / 100,
        "margin": 1 - pixels.astype(np.float32) / 100,
        "probabilities": np.tile(pixels.astype(np.float32), (1, 4)),
    }
    return {name: answers[name] for name in outputs}


def failing(images, outputs, timeout_us):
    raise StageFailed("it broke")


def big(images):
    """Big's answers: label 1000 + the pixel, confidence 0.5."""
    pixels = images.pixels[:, 0, 0, :1]
    return {"label": 1000 + pixels.astype(np.int32), "confidence": np.full(pixels.shape, 0.5, np.float32)}


def decided(*requests, settings=None, scaling=NO_SCALING, stage=little):
    """The batch of these requests after little's answers and the decisions, and its tally."""
    tally = Tally()
    batch = Batch(requests, settings or GateSettings(0.5), tally)
    batch.ask_little(stage)
    batch.decide(scaling)
    return batch, tally


def rows_for_big(batch):
    return [row for request in batch.waiting for row in batch.needs_big(request)]


def ask_big(batch):
    """Finish the waiting requests with big's answers."""
    rows = rows_for_big(batch)
    batch.finish_with_big(batch.waiting, rows, big(batch.images(rows)))


def plain(response):
    """A response as lists, or an error as (code, message)."""
    if isinstance(response, GateError):
        return response.code, response.message
    return {name: array.ravel().tolist() for name, array in response.items()}


def counted(tally, name="littlebig_images_total"):
    """Counts that are not zero, by label values."""
    counts, _ = tally.take()
    return {
        "/".join(value for _, value in sorted(labels, reverse=True)): count
        for (metric, labels), count in counts.items()
        if metric == name and count
    }
