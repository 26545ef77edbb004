import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from littlebig_export import exporting, repository
from littlebig_export.config_pbtxt import read_config
from littlebig_export.errors import ExportError
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair, override_weights
from littlebig_export.repository import SHARED_MODULES
from tests.tiny_pair import tiny_classifier

GATE = Path(__file__).parents[3] / "model_repository" / "little_big" / "1"


def export(pair_file: Path, output: Path, target: str = "cpu", **options):
    return export_pair(load_pair(str(pair_file)), target, output, **options)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(action) -> str:
    with pytest.raises(ExportError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_repository_is_complete(tiny_pair, tmp_path):
    export(tiny_pair, tmp_path / "out")
    assert sorted(files(tmp_path / "out")) == [
        "big/1/littlebig_quoting.py",
        "big/1/littlebig_session.py",
        "big/1/littlebig_session_errors.py",
        "big/1/littlebig_watchdog.py",
        "big/1/model.onnx",
        "big/1/model.py",
        "big/config.pbtxt",
        "big/labels.txt",
        "classify/1/.keep",
        "classify/config.pbtxt",
        "classify/labels.txt",
        "little/1/littlebig_quoting.py",
        "little/1/littlebig_session.py",
        "little/1/littlebig_session_errors.py",
        "little/1/littlebig_watchdog.py",
        "little/1/model.onnx",
        "little/1/model.py",
        "little/config.pbtxt",
        "little/labels.txt",
        *sorted(f"little_big/1/{name}" for name in [*(path.name for path in GATE.glob("*.py")), *SHARED_MODULES]),
        "little_big/config.pbtxt",
        "little_big/labels.txt",
        "littlebig.json",
        "preprocess/1/littlebig_bmp.py",
        "preprocess/1/littlebig_fit.py",
        "preprocess/1/littlebig_flatten.py",
        "preprocess/1/littlebig_gif.py",
        "preprocess/1/littlebig_jpeg.py",
        "preprocess/1/littlebig_lanes.py",
        "preprocess/1/littlebig_limits.py",
        "preprocess/1/littlebig_nvimagecodec.py",
        "preprocess/1/littlebig_orientation.py",
        "preprocess/1/littlebig_png.py",
        "preprocess/1/littlebig_preprocess.py",
        "preprocess/1/littlebig_quoting.py",
        "preprocess/1/littlebig_watchdog.py",
        "preprocess/1/littlebig_webp.py",
        "preprocess/1/model.py",
        "preprocess/config.pbtxt",
    ]


def test_exported_graphs_are_valid_in_full_and_hold_each_domain_once(tiny_pair, tmp_path):
    export(tiny_pair, tmp_path / "out")
    for stage in ("little", "big"):
        graph = onnx.load(tmp_path / "out" / stage / "1" / "model.onnx")
        onnx.checker.check_model(graph, full_check=True)
        domains = [opset.domain for opset in graph.opset_import]
        assert domains == sorted(set(domains))


def test_one_file_says_what_the_repository_was_made_of(tiny_pair, tmp_path):
    export(tiny_pair, tmp_path / "out", threshold=0.25)
    says = json.loads((tmp_path / "out" / "littlebig.json").read_text())
    assert says["pair"]["name"] == "tiny"
    assert says["target"] == "cpu"
    assert says["threshold"] == {"value": 0.25, "source": "given at export", "score": "confidence"}
    assert says["canonical_image"]["width"] == 32
    assert len(says["stages"]["big"]["weights"]["sha256"]) == 64
    assert says["stages"]["little"]["parity"]["top1_agreement"] == 1.0
    assert set(says["versions"]) >= {"littlebig", "onnx", "torch", "timm"}


def test_configs_speak_of_this_pair(tiny_pair, tmp_path):
    export(tiny_pair, tmp_path / "out")
    assert "dims: [32, 32, 3]" in (tmp_path / "out/little/config.pbtxt").read_text()
    assert "dims: [5]" in (tmp_path / "out/classify/config.pbtxt").read_text()
    assert 'string_value: "0.6"' in (tmp_path / "out/little_big/config.pbtxt").read_text()
    preprocess = (tmp_path / "out/preprocess/config.pbtxt").read_text()
    assert 'string_value: "35"' in preprocess
    assert "floor(32 / 0.9)" in preprocess
    assert (tmp_path / "out/big/labels.txt").read_text().splitlines()[4] == "class 4"


def test_a_stage_answers_label_confidence_margin_and_probabilities_for_any_batch(tiny_pair, tmp_path):
    export(tiny_pair, tmp_path / "out")
    images = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), np.uint8)
    for stage in ("little", "big"):
        session = onnxruntime.InferenceSession(str(tmp_path / "out" / stage / "1" / "model.onnx"))
        label, confidence, margin, probabilities = session.run(
            ["label", "confidence", "margin", "probabilities"], {"image": images}
        )
        ordered = np.sort(probabilities, -1)
        assert probabilities.shape == (7, 5)
        assert probabilities.sum(-1) == pytest.approx(np.ones(7), abs=1e-5)
        assert label.dtype == np.int32
        assert label.ravel().tolist() == probabilities.argmax(-1).tolist()
        assert confidence.ravel() == pytest.approx(ordered[:, -1])
        assert margin.ravel() == pytest.approx(ordered[:, -1] - ordered[:, -2], abs=1e-6)


def test_an_export_replaces_an_earlier_one_whole(tiny_pair, tmp_path):
    export(tiny_pair, tmp_path / "out")
    (tmp_path / "out" / "stray").write_text("left over")
    export(tiny_pair, tmp_path / "out")
    assert "stray" not in files(tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["big.onnx", "little.onnx", "out", "tiny.toml"]


def test_an_interrupted_export_leaves_the_old_repository_whole(tiny_pair, tmp_path, monkeypatch):
    export(tiny_pair, tmp_path / "out")
    before = files(tmp_path / "out")
    written = []

    def interrupted(graph, path):
        written.append(path)
        raise KeyboardInterrupt

    monkeypatch.setattr(repository, "save_graph", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(tiny_pair, tmp_path / "out", threshold=0.9)
    assert written
    assert files(tmp_path / "out") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["big.onnx", "little.onnx", "out", "tiny.toml"]


def test_a_full_disk_is_one_line_and_nothing_is_left(tiny_pair, tmp_path, monkeypatch):
    def full(graph, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(repository, "save_graph", full)
    message = refusal(lambda: export(tiny_pair, tmp_path / "out"))
    assert message == f"cannot write '{tmp_path / 'out'}': No space left on device"
    assert not (tmp_path / "out").exists()


def test_a_file_system_that_cannot_exchange_two_folders_gets_two_renames(tiny_pair, tmp_path, monkeypatch):
    class OldLibrary:
        def renameat2(self, *_):
            return -1

    export(tiny_pair, tmp_path / "out")
    monkeypatch.setattr(repository.ctypes, "CDLL", lambda *_, **__: OldLibrary())
    export(tiny_pair, tmp_path / "out", threshold=0.9)
    assert json.loads((tmp_path / "out" / "littlebig.json").read_text())["threshold"]["value"] == 0.9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["big.onnx", "little.onnx", "out", "tiny.toml"]


def test_a_folder_that_is_not_ours_is_left_alone(tiny_pair, tmp_path):
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years of work")
    message = refusal(lambda: export(tiny_pair, precious))
    assert message == (
        f"'{precious}' exists and is not a model repository of Little-Big (no littlebig.json); choose another --output"
    )
    assert (precious / "thesis.tex").read_text() == "years of work"
    assert "is not a folder" in refusal(lambda: export(tiny_pair, precious / "thesis.tex"))


def test_two_models_over_different_classes_are_refused(tiny_pair, tmp_path):
    tiny_classifier(tmp_path / "big.onnx", 32, classes=7)
    assert refusal(lambda: export(tiny_pair, tmp_path / "out")) == (
        "the two models have different numbers of classes: little 5, big 7; a pair needs two classifiers over the same classes"
    )
    assert not (tmp_path / "out").exists()


def test_a_graph_of_another_size_than_the_pair_says_is_refused(tiny_pair, tmp_path):
    tiny_classifier(tmp_path / "little.onnx", 28)
    assert refusal(lambda: export(tiny_pair, tmp_path / "out")) == (
        f"'{tmp_path / 'little.onnx'}' takes tensor(float) ['n', 3, 28, 28]: set size = 28 in the pair's file, which says 24"
    )


def test_what_is_no_onnx_is_refused(tiny_pair, tmp_path):
    (tmp_path / "little.onnx").write_bytes(b"no graph")
    assert "is not a readable ONNX model: " in refusal(lambda: export(tiny_pair, tmp_path / "out"))
    (tmp_path / "little.onnx").unlink()
    assert refusal(lambda: export(tiny_pair, tmp_path / "out")) == (
        f"pair 'tiny': there is no ONNX file '{tmp_path / 'little.onnx'}'"
    )


def test_labels_must_be_one_line_per_class(tiny_pair, tmp_path):
    tiny_pair.write_text('labels = "names.txt"\n' + tiny_pair.read_text())
    assert "there is no labels file" in refusal(lambda: export(tiny_pair, tmp_path / "o"))
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    assert "has 2 lines for 5 classes" in refusal(lambda: export(tiny_pair, tmp_path / "o"))
    (tmp_path / "names.txt").write_text("cat\ndog\nemu\nfox\ngnu\n")
    export(tiny_pair, tmp_path / "o")
    assert (tmp_path / "o/big/labels.txt").read_text() == "cat\ndog\nemu\nfox\ngnu\n"


def test_a_graph_that_is_not_its_model_is_never_written(tiny_pair, tmp_path, monkeypatch):
    real = exporting.stage_graph

    def wrong(backbone, canonical, **options):
        graph = real(backbone, canonical)
        scale = next(tensor for tensor in graph.graph.initializer if tensor.name == "scale")
        scale.raw_data = (np.frombuffer(scale.raw_data, np.float32) * 3).tobytes()
        return graph

    monkeypatch.setattr(exporting, "stage_graph", wrong)
    assert "is not the model it was made from: a probability differs by" in refusal(
        lambda: export(tiny_pair, tmp_path / "out")
    )
    assert not (tmp_path / "out").exists()


def test_onnx_files_take_no_other_weights(tiny_pair, tmp_path):
    pair = load_pair(str(tiny_pair))
    message = refusal(lambda: override_weights(pair, None, None, random=True))
    assert message == f"'{tmp_path / 'little.onnx'}' is an ONNX file with its weights in it; it takes no others"


def instances(repository):
    """How many instances each model has that runs in any."""
    names = ("little", "little_big", "preprocess")
    found = [read_config(repository / name / "config.pbtxt").message for name in names]
    return [config.instance_group[0].count for config in found]


@pytest.mark.parametrize(("cores", "littles", "asked"), [(1, 1, 2), (2, 2, 2), (4, 4, 4), (16, 4, 4)])
def test_on_a_cpu_what_clients_ask_has_as_many_instances_as_little_and_never_just_one(
    tiny_pair, tmp_path, cores, littles, asked
):
    export(tiny_pair, tmp_path / "out", cores=cores)
    assert instances(tmp_path / "out") == [littles, asked, asked]


def test_before_a_gpu_what_clients_ask_has_more_instances_than_little(tiny_pair, tmp_path):
    export(tiny_pair, tmp_path / "out", "tensorrt")
    assert instances(tmp_path / "out") == [2, 4, 4]


@pytest.mark.parametrize(("target", "cores"), [("cpu", 1), ("cpu", 2), ("tensorrt", None)])
def test_models_that_clients_ask_have_a_queue_policy_and_two_instances_and_stages_have_none(
    tiny_pair, tmp_path, target, cores
):
    """With a policy Triton forms no batch before an instance is free, and may let a lone one stand still."""
    export(tiny_pair, tmp_path / "out", target, **({"cores": cores} if cores else {}))
    for name in ("preprocess", "little_big", "little", "big"):
        config = read_config(tmp_path / "out" / name / "config.pbtxt").message
        asked = name in ("preprocess", "little_big")
        assert config.dynamic_batching.HasField("default_queue_policy") == asked, name
        assert config.instance_group[0].count >= (2 if asked else 1), name
