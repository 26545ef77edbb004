"""ONNX classifiers of every kind are exported as they are, or refused in one true line."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from littlebig_export.errors import ExportError
from littlebig_export.onnx_model import hash_files, read_classifier
from littlebig_export.pair import OnnxModel
from littlebig_export.preprocessing import Preprocessing
from littlebig_export.stage_graph import Backbone, stage_graph
from littlebig_export.weight_files import open_graph
from tests.tiny_pair import tiny_classifier

HALVES = (0.5, 0.5, 0.5)
TRANSFORM = Preprocessing(24, 0.9, "center", "bicubic", HALVES, HALVES)


def read(path, output=None):
    return read_classifier(OnnxModel(path, TRANSFORM, "logits", output=output))


def refusal(path, output=None):
    with pytest.raises(ExportError) as error:
        read(path, output)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.fixture
def path(tmp_path):
    tiny_classifier(tmp_path / "m.onnx", 24)
    return tmp_path / "m.onnx"


def edit(path, change):
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


def output(name, *shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, list(shape))


def put_first(path, node, value):
    """Add a node whose result becomes the first output."""

    def change(model):
        scores = model.graph.output.pop()
        model.graph.node.append(node)
        model.graph.output.extend([value, scores])

    edit(path, change)


@pytest.mark.parametrize("attribute", [False, True], ids=["initializer", "constant node"])
def test_identity_covers_the_weights_in_other_files(path, attribute):
    model = onnx.load(path)
    if attribute:
        kernel = model.graph.initializer.pop(0)
        model.graph.node.insert(0, helper.make_node("Constant", [], ["kernel"], value=kernel))
    onnx.save(
        model,
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
        convert_attribute=attribute,
    )
    before, answer = read(path).sha256, read(path).scores(np.ones((1, 3, 24, 24), np.float32))
    data = bytearray((path.parent / "weights.bin").read_bytes())
    data[:4] = np.float32(3.0).tobytes()
    (path.parent / "weights.bin").write_bytes(data)
    assert not np.allclose(answer, read(path).scores(np.ones((1, 3, 24, 24), np.float32)))
    assert read(path).sha256 != before


def test_identity_of_a_single_file_is_its_sha256_and_a_missing_second_file_is_refused(path):
    assert hash_files(path) == __import__("hashlib").sha256(path.read_bytes()).hexdigest()
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (path.parent / "weights.bin").unlink()
    assert refusal(path) == f"'{path}' has weights in '{path.parent / 'weights.bin'}', which is missing: put it there"


def test_weights_that_are_a_link_are_refused_with_the_remedy(path):
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    (path.parent / "weights.bin").rename(path.parent / "blob")
    (path.parent / "weights.bin").symlink_to("blob")
    assert refusal(path) == f"the weights of '{path}' are a link, which ONNX refuses: copy both (cp -L)"


def test_sparse_weights_are_written_out(path):
    def thin_out(model):
        dense = numpy_helper.to_array(model.graph.initializer.pop(1)).copy()
        dense[np.abs(dense) < 0.5] = 0.0
        places = np.flatnonzero(dense)
        values = numpy_helper.from_array(dense.reshape(-1)[places], "weights")
        indices = numpy_helper.from_array(places, "weights_indices")
        sparse = onnx.SparseTensorProto(values=values, indices=indices, dims=dense.shape)
        model.graph.sparse_initializer.append(sparse)

    edit(path, thin_out)
    given = read(path)
    images = np.random.default_rng(0).normal(size=(2, 3, 24, 24)).astype(np.float32)
    assert open_graph(given.graph).run(None, {"pixels": images})[0] == pytest.approx(given.scores(images), abs=1e-4)


def test_weights_that_are_no_numbers_are_not_taken_for_a_fixed_batch(path):
    def spoil(model):
        kernel = numpy_helper.to_array(model.graph.initializer[0]).copy()
        kernel[0] = np.nan
        model.graph.initializer[0].CopyFrom(numpy_helper.from_array(kernel, "kernel"))

    edit(path, spoil)
    assert np.isnan(read(path).scores(np.ones((1, 3, 24, 24), np.float32))).any()


def test_a_first_output_that_is_not_the_scores_names_the_one_that_is(path):
    put_first(path, helper.make_node("Identity", ["pooled"], ["maps4"]), output("maps4", "n", 8, 1, 1))
    assert refusal(path) == (
        f"'{path}': its first output 'maps4' is tensor(float) ['n', 8, 1, 1], not the scores, float [batch, classes]: "
        'set output = "logits" in the pair\'s file'
    )
    assert read(path, "logits").classes == 5
    assert refusal(path, "none") == f"'{path}' has no output 'none'; it has 'maps4', 'logits'"


def test_a_sequence_a_scalar_and_a_label_are_not_scores(path, tmp_path):
    whole = path.read_bytes()
    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)
    for node, value in (
        (helper.make_node("SequenceConstruct", ["logits"], ["x"]), sequence),
        (helper.make_node("ReduceMax", ["logits"], ["x"], keepdims=0), output("x")),
        (helper.make_node("ArgMax", ["logits"], ["x"], axis=1), output("x", "n", 1, kind=TensorProto.INT64)),
    ):
        path.write_bytes(whole)
        put_first(path, node, value)
        message = refusal(path)
        assert message.startswith(f"'{path}': its first output 'x' is ")
        assert message.endswith('set output = "logits" in the pair\'s file')


def test_a_graph_without_outputs_is_refused(path):
    edit(path, lambda model: model.graph.output.pop())
    refusal(path)


def test_a_batch_that_is_baked_into_a_node_is_called_that(path):
    def bake(model):
        model.graph.initializer.append(numpy_helper.from_array(np.array([1, 5], np.int64), "shape"))
        model.graph.node[-1].output[0] = "flat"
        model.graph.node.append(helper.make_node("Reshape", ["flat", "shape"], ["logits"]))

    edit(path, bake)
    assert refusal(path) == (
        f"'{path}' declares a dynamic batch and fails with a batch of 3: a node such as Reshape holds the batch of its "
        "export, so export it again with that dimension dynamic"
    )


def test_local_functions_are_inlined(path):
    def wrap(model):
        body = [helper.make_node("Relu", ["x"], ["y"])]
        function = helper.make_function("mine", "Positive", ["x"], ["y"], body, [helper.make_opsetid("", 17)])
        model.functions.append(function)
        model.opset_import.append(helper.make_opsetid("mine", 1))
        relu = next(node for node in model.graph.node if node.op_type == "Relu")
        relu.op_type, relu.domain = "Positive", "mine"

    before = read(path).scores(np.ones((2, 3, 24, 24), np.float32))
    edit(path, wrap)
    given = read(path)
    assert np.allclose(given.scores(np.ones((2, 3, 24, 24), np.float32)), before)
    assert not given.graph.functions
    assert "Positive" not in {node.op_type for node in given.graph.graph.node}


@pytest.mark.parametrize("version", [20, 21, 22])
def test_graphs_of_later_opsets_stay_what_they_are(path, version):
    def gelu(model):
        next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Gelu"
        model.opset_import[0].version = version

    edit(path, gelu)
    given = read(path)
    graph = stage_graph(Backbone(given.graph, TRANSFORM), TRANSFORM)
    onnx.checker.check_model(graph, full_check=True)
    assert [(each.domain, each.version) for each in graph.opset_import] == [("", version)]
    assert "Gelu" in {node.op_type for node in graph.graph.node}
