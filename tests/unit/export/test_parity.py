"""The parity check finds a faulty graph, also where random weights make every probability about the same."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

torch = pytest.importorskip("torch")

from littlebig_export.classifiers import prepare, softmax  # noqa: E402
from littlebig_export.errors import ParityError  # noqa: E402
from littlebig_export.pair import OnnxModel, TimmModel  # noqa: E402
from littlebig_export.parity import LARGEST_DIFFERENCE, check_parity, sharpened  # noqa: E402
from littlebig_export.pictures import photographs  # noqa: E402
from littlebig_export.preprocessing import Preprocessing  # noqa: E402
from littlebig_export.stage_graph import stage_graph  # noqa: E402
from littlebig_export.weights import load_timm  # noqa: E402
from tests.tiny_pair import tiny_classifier  # noqa: E402

HALVES = (0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def pictures():
    return photographs()


@pytest.fixture(params=[1e-3, 1.0], ids=["flat", "peaked"])
def classifier(request, tmp_path):
    """A model with 40 classes, seen at 24 pixels of a canonical image of 33."""
    tiny_classifier(tmp_path / "m.onnx", 24, classes=40)
    model = onnx.load(tmp_path / "m.onnx")
    weights = next(each for each in model.graph.initializer if each.name == "weights")
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(request.param), "weights"))
    onnx.save(model, tmp_path / "m.onnx")
    return prepare(
        OnnxModel(tmp_path / "m.onnx", Preprocessing(24, 0.9, "center", "bicubic", HALVES, HALVES), "logits")
    )


def canonical(classifier):
    return replace(classifier.backbone.preprocessing, size=33)


def faulty(classifier, **changes):
    seen = replace(classifier.backbone, preprocessing=replace(classifier.backbone.preprocessing, **changes))
    return stage_graph(seen, canonical(classifier))


def test_a_true_graph_differs_by_far_less_than_the_bound(classifier, pictures):
    graph = stage_graph(classifier.backbone, canonical(classifier))
    parity = check_parity(graph, classifier, canonical(classifier), pictures)
    assert parity.largest_difference < LARGEST_DIFFERENCE / 10
    assert parity.top1_agreement == 1.0


@pytest.mark.parametrize(
    "fault",
    [{"mean": (0.48, 0.5, 0.5)}, {"std": (0.5, 0.47, 0.5)}, {"crop_pct": 0.8}, {"interpolation": "bilinear"}],
    ids=lambda fault: next(iter(fault)),
)
def test_a_graph_with_another_transform_is_refused(classifier, pictures, fault):
    with pytest.raises(ParityError, match="is not the model it was made from: a probability differs by"):
        check_parity(faulty(classifier, **fault), classifier, canonical(classifier), pictures)


def test_a_graph_with_one_changed_weight_is_refused(classifier, pictures):
    graph = stage_graph(classifier.backbone, canonical(classifier))
    kernel = next(each for each in graph.graph.initializer if each.name == "backbone/kernel")
    values = numpy_helper.to_array(kernel).copy()
    values[0, 0] += 0.2
    kernel.CopyFrom(numpy_helper.from_array(values, kernel.name))
    with pytest.raises(ParityError):
        check_parity(graph, classifier, canonical(classifier), pictures)


def test_answers_that_depend_on_the_picture_stay_what_they_are():
    logits = 2.0 * np.random.default_rng(0).normal(size=(7, 10))
    answers = softmax(logits), softmax(logits + 1e-3)
    assert all(one is other for one, other in zip(sharpened(*answers), answers, strict=True))


def test_sharpening_is_the_softmax_of_scaled_scores_without_what_all_pictures_share():
    noise = np.random.default_rng(0).normal(size=(7, 10))
    noise -= noise.mean(axis=0)
    flat = softmax(0.01 * noise + np.linspace(-3.0, 3.0, 10))
    own = noise - noise.mean(axis=1, keepdims=True)
    ours, theirs = sharpened(flat, flat)
    assert ours == pytest.approx(softmax(4.0 * own / own.std()), abs=1e-5)
    assert np.array_equal(ours, theirs)


def test_answers_alike_for_all_pictures_are_compared_all_the_same():
    flat = np.full((7, 10), 0.1, np.float32)
    ours, theirs = sharpened(flat, flat)
    assert ours == pytest.approx(flat)
    assert theirs == pytest.approx(flat)


def test_every_random_weight_matters():
    network = load_timm(TimmModel("resnet18", "random"))
    scales = [weight for name, weight in network.named_parameters() if name.endswith("bn2.weight")]
    assert scales
    assert all(bool((weight != 0).any()) for weight in scales)
