"""The served stages and the cascade answer as timm's own models do, on labelled photographs."""

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
    """The labels of timm's own model with timm's own transform."""
    # Batches of ten in channels-last order take two fifths of the time of large ones in timm's order.
    network = load_timm(model).to(memory_format=torch.channels_last)
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    labels = []
    with torch.inference_mode():
        for start in range(0, len(files), 10):
            batch = torch.stack([transform(Image.open(path).convert("RGB")) for path in files[start : start + 10]])
            labels.append(network(batch.contiguous(memory_format=torch.channels_last)).argmax(-1).numpy())
    return np.concatenate(labels)


def served(client, photographs, **options):
    """Labels of the served cascade, and the fraction of photographs that big answered."""
    answers = list(client.classify_many([path for path, _ in photographs], top_k=1, concurrency=8, **options))
    return np.array([answer.label for answer in answers]), np.mean([answer.stage == "big" for answer in answers])


def test_served_stages_agree_with_timm_on_seventeen_photographs(client):
    photographs = labelled_photographs()[::60]
    pair, files = load_pair("efficientnet-lite"), [path for path, _ in photographs]
    little, _ = served(client, photographs, policy="little")
    big, _ = served(client, photographs, policy="big")
    assert (little == labels_of_timm(pair.little, files)).mean() >= 0.85
    assert (big == labels_of_timm(pair.big, files)).mean() >= 0.94


@pytest.fixture(scope="module")
def photographs():
    """Every second of the 1,000: timm's own models take minutes for these."""
    return labelled_photographs()[::2]


@pytest.fixture(scope="module")
def accuracy_of(photographs):
    truth = np.array([label for _, label in photographs])
    return lambda labels: float((np.asarray(labels) == truth).mean())


@pytest.fixture(scope="module")
def timm_labels(photographs):
    pair, files = load_pair("efficientnet-lite"), [path for path, _ in photographs]
    return {"little": labels_of_timm(pair.little, files), "big": labels_of_timm(pair.big, files)}


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["little", "big"])
def test_a_stage_is_as_accurate_as_timms_own_model(client, photographs, timm_labels, accuracy_of, stage):
    labels, _ = served(client, photographs, policy=stage)
    expected = accuracy_of(timm_labels[stage])
    print(f"{stage}: served {accuracy_of(labels):.3f}, timm {expected:.3f}")
    assert accuracy_of(labels) == pytest.approx(expected, abs=0.01)
    if stage == "big":
        assert (labels == timm_labels["big"]).mean() >= 0.998


@pytest.mark.slow
@pytest.mark.parametrize(("threshold", "most"), [(None, 0.25), (0.55, 0.5)], ids=["calibrated", "0.55"])
def test_the_cascade_is_as_accurate_as_big(client, photographs, timm_labels, accuracy_of, threshold, most):
    labels, escalated = served(client, photographs, threshold=threshold)
    big = accuracy_of(timm_labels["big"])
    print(f"cascade: served {accuracy_of(labels):.3f}, {escalated:.1%} escalated, big {big:.3f}")
    assert accuracy_of(labels) >= big - 0.01
    assert escalated < most
