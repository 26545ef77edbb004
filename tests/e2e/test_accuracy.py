"""Served answers are those of the models: 1,000 labelled photographs, encoded, through the running server."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from tests.shared_data import labelled_photographs

from littlebig_export.pair import TimmModel, load_pair
from littlebig_export.weights import load_timm

pytestmark = pytest.mark.timeout(600)


def labels_of_timm(model: TimmModel, files) -> np.ndarray:
    """What timm's own model answers with timm's own transform."""
    # Small batches with channels last take two fifths of the time of large ones as timm has them.
    network = load_timm(model).to(memory_format=torch.channels_last)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    labels = []
    with torch.inference_mode():
        for start in range(0, len(files), 10):
            batch = torch.stack([transform(Image.open(path).convert("RGB")) for path in files[start : start + 10]])
            labels.append(network(batch.contiguous(memory_format=torch.channels_last)).argmax(-1).numpy())
    return np.concatenate(labels)


@pytest.fixture(scope="module")
def photographs():
    return labelled_photographs()


@pytest.fixture(scope="module")
def accuracy_of(photographs):
    truth = np.array([label for _, label in photographs])
    return lambda labels: float((np.asarray(labels) == truth).mean())


@pytest.fixture(scope="module")
def timms(photographs):
    pair, files = load_pair("efficientnet-lite"), [path for path, _ in photographs]
    return {"little": labels_of_timm(pair.little, files), "big": labels_of_timm(pair.big, files)}


def served(client, photographs, **options):
    answers = list(client.classify_many([path for path, _ in photographs], top_k=1, concurrency=8, **options))
    return np.array([answer.label for answer in answers]), np.mean([answer.stage == "big" for answer in answers])


@pytest.mark.parametrize("stage", ["little", "big"])
def test_a_stage_is_as_accurate_as_timms_own_model(client, photographs, timms, accuracy_of, stage):
    labels, _ = served(client, photographs, policy=stage)
    print(f"{stage}: served {accuracy_of(labels):.3f}, timm {accuracy_of(timms[stage]):.3f}")
    assert accuracy_of(labels) == pytest.approx(accuracy_of(timms[stage]), abs=0.006)
    if stage == "big":
        assert (labels == timms["big"]).mean() >= 0.998


@pytest.mark.parametrize(("threshold", "most"), [(None, 0.25), (0.55, 0.5)], ids=["calibrated", "0.55"])
def test_the_cascade_is_as_accurate_as_big(client, photographs, timms, accuracy_of, threshold, most):
    labels, escalated = served(client, photographs, threshold=threshold)
    print(f"cascade: served {accuracy_of(labels):.3f}, {escalated:.1%} escalated, big {accuracy_of(timms['big']):.3f}")
    assert accuracy_of(labels) >= accuracy_of(timms["big"]) - 0.003
    assert escalated < most
