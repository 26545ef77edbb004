import json

import timm
import timm.data
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from littlebig_contract.stages import MODELS, STAGES
from littlebig_export.config_pbtxt import reference_repository
from littlebig_export.pair import load_pair
from littlebig_export.preprocessing import Preprocessing
from littlebig_export.repository import SHARED_MODULES, Rendering, write_repository

from .conftest import backbone

REFERENCE = reference_repository()


def render(output, target="tensorrt", size=None):
    """Write the repository of the default pair, without its weights."""
    pair = load_pair("efficientnet-lite")
    text = pair.calibrations[0].read_text()
    calibration = json.loads(text)
    stages = {
        stage: {
            "model": calibration[stage]["name"],
            "weights": {"sha256": calibration[stage]["weights_sha256"]},
        }
        for stage in STAGES
    }
    network = timm.create_model(pair.big.architecture, pretrained=False)
    canonical = Preprocessing.from_timm(timm.data.resolve_model_data_config(network))
    if size:
        canonical = Preprocessing(**{**vars(canonical), "size": size})
    write_repository(
        output,
        Rendering(
            target=target,
            graphs=dict.fromkeys(STAGES, backbone([], {})),
            canonical=canonical,
            class_names=[f"class {index}" for index in range(1000)],
            threshold=pair.threshold,
            cores=2,
            provenance={"pair": {"name": pair.name}, "stages": stages},
            calibration=text,
        ),
    )


def is_copy(path):
    """Whether a file is a module that several models share: it is checked in with `preprocess` alone."""
    return path.name in SHARED_MODULES and path.parts[-3] != "preprocess"


def config(repository, model):
    message = model_config_pb2.ModelConfig()
    return text_format.Parse((repository / model / "config.pbtxt").read_text(), message)


def test_the_checked_in_repository_is_the_default_pair_for_tensorrt(tmp_path):
    render(tmp_path / "out")
    generated = {"labels.txt", "model.onnx", "littlebig.json", "calibration.json"}
    rendered = {
        path.relative_to(tmp_path / "out"): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file() and path.name not in generated and not is_copy(path)
    }
    checked_in = {
        path.relative_to(REFERENCE): path.read_bytes()
        for path in REFERENCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sorted(rendered) == sorted(checked_in)
    assert [str(path) for path in rendered if rendered[path] != checked_in[path]] == []


def test_another_size_reaches_each_graph_spec_and_warm_up(tmp_path):
    render(tmp_path / "out", size=384)
    for model in MODELS:
        assert "260" not in (tmp_path / "out" / model / "config.pbtxt").read_text().replace("floor(", "")


def test_cuda_graphs_cover_the_batch_sizes_of_the_comments():
    for stage, covered in (("little", set(range(1, 33))), ("big", set(range(1, 9)))):
        message = config(REFERENCE, stage)
        sizes = set()
        for spec in message.optimization.cuda.graph_spec:
            lower = spec.graph_lower_bound.batch_size or spec.batch_size
            assert not sizes & set(range(lower, spec.batch_size + 1))
            sizes |= set(range(lower, spec.batch_size + 1))
            # An inexact match compares the shapes too: both must be there.
            assert list(spec.input["image"].dim) == [260, 260, 3]
            assert not spec.HasField("graph_lower_bound") or list(spec.graph_lower_bound.input["image"].dim) == [
                260,
                260,
                3,
            ]
        assert sizes == covered


def test_all_models_have_the_same_max_batch_size():
    sizes = {model: config(REFERENCE, model).max_batch_size for model in MODELS}
    assert set(sizes.values()) == {32}


def test_the_cpu_target_has_one_warm_up_and_no_cuda_graphs(tmp_path):
    render(tmp_path / "out", target="cpu")
    message = config(tmp_path / "out", "little")
    assert [(warmup.name, warmup.batch_size) for warmup in message.model_warmup] == [("one image", 1)]
    assert not message.HasField("optimization")
