"""Graphs that take something else than normalised float32 images answer what their files answer."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from littlebig_contract.onnx_runtime import open_session
from littlebig_export.errors import ExportError
from littlebig_export.exporting import export_pair
from littlebig_export.onnx_model import read_classifier
from littlebig_export.pair import load_pair
from littlebig_export.weight_files import open_graph
from tests.sweep.graphs import KINDS, REFUSED, SIZE, from_kind

# What each kind of file wants to get for float32 images [N,3,S,S].
FEEDS = {
    "weights as inputs": lambda images: images,
    "unsorted nodes": lambda images: images,
    "fixed batch": lambda images: images,
    "fixed batch in a Reshape": lambda images: images,
    "fixed batch of 4 in a Reshape": lambda images: np.repeat(images, 4, axis=0),
    "NHWC input": lambda images: images.transpose(0, 2, 3, 1),
    "NHWC input, fixed batch": lambda images: images.transpose(0, 2, 3, 1),
    "FP16": lambda images: images.astype(np.float16),
    "FP16 input": lambda images: images.astype(np.float16),
    "float64 input": lambda images: images.astype(np.float64),
    "uint8 input": lambda images: images.round().astype(np.uint8).transpose(0, 2, 3, 1),
    "scores as maps of one pixel": lambda images: images,
}


def refusal(action) -> str:
    with pytest.raises(ExportError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", FEEDS)
def test_a_graph_answers_float_images_as_its_file_answers_what_it_takes(kind, tmp_path):
    given = from_kind(kind, tmp_path)
    random = np.random.default_rng(0)
    images = (100 + 40 * random.normal(size=(3, 3, SIZE, SIZE))).clip(0, 255).astype(np.float32)
    session = onnxruntime.InferenceSession(given.path, providers=["CPUExecutionProvider"])
    name, feed = session.get_inputs()[0].name, FEEDS[kind]
    expected = [session.run(None, {name: feed(image[None])})[0][:1].reshape(1, -1) for image in images]
    classifier = read_classifier(given)
    backbone = classifier.graph
    onnx.checker.check_model(backbone, full_check=True)
    for answers in (
        open_graph(backbone).run(None, {backbone.graph.input[0].name: images})[0],
        classifier.scores(images),
    ):
        assert answers.dtype == np.float32
        assert answers == pytest.approx(np.concatenate(expected), rel=2e-3)
    assert "UINT8" not in {
        TensorProto.DataType.Name(value.type.tensor_type.elem_type) for value in backbone.graph.input
    }


@pytest.mark.parametrize("kind", REFUSED)
def test_a_graph_of_another_kind_is_refused_in_one_line(kind, tmp_path):
    given = from_kind(kind, tmp_path)
    message = refusal(lambda: read_classifier(given))
    assert str(given.path) in message
    assert message.endswith(REFUSED[kind])


def write_uint8_pair(tiny_pair, settings=""):
    """The tiny pair with a little model that takes whole pixels; its own normalisation is part of its graph."""
    path = tiny_pair.with_name("little.onnx")
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1 / 64), "scale"))
    model.graph.node.insert(0, helper.make_node("Cast", ["bytes"], ["float"], to=TensorProto.FLOAT))
    model.graph.node.insert(1, helper.make_node("Mul", ["float", "scale"], ["pixels"]))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("bytes", TensorProto.UINT8, ["n", 3, 24, 24]))
    onnx.save(model, path)
    tiny_pair.write_text(tiny_pair.read_text().replace("size = 24", f"size = 24\n{settings}"))
    return load_pair(str(tiny_pair))


def test_a_model_of_whole_pixels_gets_them_without_mean_and_std(tiny_pair, tmp_path):
    exported = export_pair(write_uint8_pair(tiny_pair), "cpu", tmp_path / "out")
    assert exported.provenance["stages"]["little"]["mean"] == (0.0, 0.0, 0.0)
    assert exported.parity["little"].top1_agreement == 1.0
    assert exported.parity["little"].largest_difference < 1e-5


def test_mean_and_std_of_a_model_of_whole_pixels_are_refused(tiny_pair, tmp_path):
    pair = write_uint8_pair(tiny_pair, "mean = [0.5, 0.5, 0.5]")
    assert refusal(lambda: export_pair(pair, "cpu", tmp_path / "out")) == (
        f"'{tiny_pair.with_name('little.onnx')}' takes uint8 pixels, so it normalises them itself: take mean and std out "
        "of the pair's file"
    )


def test_pixels_that_a_model_quantises_stay_whole_numbers(tmp_path):
    def dequantise(model):
        model.graph.initializer.append(numpy_helper.from_array(np.float32(1 / 64), "scale"))
        model.graph.initializer.append(numpy_helper.from_array(np.uint8(128), "zero"))
        model.graph.node.insert(0, helper.make_node("DequantizeLinear", ["given", "scale", "zero"], ["pixels"]))
        model.graph.input[0].CopyFrom(helper.make_tensor_value_info("given", TensorProto.UINT8, ["n", 3, SIZE, SIZE]))
        return model

    given = from_kind("several outputs", tmp_path)
    onnx.save(dequantise(onnx.load(given.path)), given.path)
    classifier = read_classifier(given)
    images = np.random.default_rng(0).integers(0, 256, (2, 3, SIZE, SIZE)).astype(np.float32)
    answers = open_graph(classifier.graph).run(None, {classifier.graph.graph.input[0].name: images + 0.3})[0]
    assert answers == pytest.approx(classifier.scores(images), rel=1e-5)


def test_operators_of_other_outputs_are_left_out(tmp_path):
    given = from_kind("several outputs", tmp_path)
    model = onnx.load(given.path)
    model.graph.node.append(helper.make_node("Hardmax", ["features"], ["unused"]))
    model.graph.output.append(helper.make_tensor_value_info("unused", TensorProto.FLOAT, ["n", 8]))
    onnx.save(model, given.path)
    assert "Hardmax" not in {node.op_type for node in read_classifier(given).graph.graph.node}


def test_tensorrt_gets_a_half_precision_model_as_it_is(tiny_pair, tmp_path):
    path = tiny_pair.with_name("little.onnx")
    onnx.save(KINDS["FP16"](onnx.load(path)), path)
    lines = []
    export_pair(load_pair(str(tiny_pair)), "tensorrt", tmp_path / "trt", report=lines.append)
    export_pair(load_pair(str(tiny_pair)), "cpu", tmp_path / "cpu")
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    answers = [
        open_session(tmp_path / target / "little/1/model.onnx").run(["probabilities"], {"image": images})[0]
        for target in ("trt", "cpu")
    ]
    assert np.abs(answers[0] - answers[1]).max() < 0.01
    assert any(line.startswith("little: fp16, 0 nodes kept in fp32; same label on 100.0%") for line in lines)
