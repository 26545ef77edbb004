"""What a pair's file says of scores and labels is checked, not believed."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from littlebig_export.classifiers import check_scores
from littlebig_export.errors import ExportError
from littlebig_export.exporting import export_pair
from littlebig_export.pair import TimmModel, load_pair
from littlebig_export.weights import load_timm


def export(pair_file, output, **options):
    return export_pair(load_pair(str(pair_file)), "cpu", output, **options)


def refusal(action) -> str:
    with pytest.raises(ExportError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


def add_softmax(path):
    model = onnx.load(path)
    model.graph.node[-1].output[0] = "raw"
    model.graph.node.append(helper.make_node("Softmax", ["raw"], ["logits"], axis=-1))
    onnx.save(model, path)


def say_probabilities(pair_file):
    pair_file.write_text(
        pair_file.read_text().replace('onnx = "little.onnx"', 'onnx = "little.onnx"\nscores = "probabilities"')
    )


def test_logits_that_are_called_probabilities_are_refused(tiny_pair, tmp_path):
    say_probabilities(tiny_pair)
    message = refusal(lambda: export(tiny_pair, tmp_path / "out"))
    assert message.startswith("the scores of 'little' are not probabilities: on photographs it answers values from -")
    assert message.endswith('; set scores = "logits"')
    assert not (tmp_path / "out").exists()


def test_probabilities_that_are_called_logits_are_refused_and_exported_as_what_they_are(tiny_pair, tmp_path):
    add_softmax(tmp_path / "little.onnx")
    assert refusal(lambda: export(tiny_pair, tmp_path / "out")) == (
        "the scores of 'little' are not logits: on every photograph they are in [0, 1] and sum to 1; "
        'set scores = "probabilities"'
    )
    say_probabilities(tiny_pair)
    assert export(tiny_pair, tmp_path / "out").parity["little"].top1_agreement == 1.0


def test_independent_probabilities_per_class_are_no_distribution():
    scores = np.array([[0.9, 0.8, 0.1]], np.float32)
    assert refusal(lambda: check_scores(scores, "probabilities", "m")) == (
        "the scores of 'm' are not probabilities: on photographs it answers sums from 1.8 to 1.8; "
        "a stage needs one distribution over the classes"
    )
    check_scores(scores, "logits", "m")


def test_scores_that_are_not_finite_are_refused():
    message = refusal(lambda: check_scores(np.array([[np.nan, 1.0]], np.float32), "logits", "m"))
    assert message == "'m' answers photographs with values that are not finite: check its mean and std"


def test_half_precision_inside_a_model_may_miss_a_sum_of_one():
    check_scores(np.array([[0.5005, 0.5]], np.float32), "probabilities", "m")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xef\xbb\xbfcat\r\ndog\r\nemu\r\nfox\r\ngnu\r\n\r\n \n", None),
        (b"a\x0bb\ndog\nemu\nfox\ngnu", None),
        ("c\xe4t\ndog\nemu\nfox\ngnu\n".encode("latin-1"), "is not UTF-8 (byte 1): save it as UTF-8"),
        (b"cat\n\nemu\nfox\ngnu\n", "has no name in line 2; it needs one line per class"),
        ("cat\ndog\n".encode("utf-16-le"), "holds bytes of zero, as UTF-16 does: save it as UTF-8"),
        (b"", "has no name in line 1; it needs one line per class"),
    ],
)
def test_labels_may_have_a_byte_order_mark_and_blank_lines_at_their_end(tiny_pair, tmp_path, content, problem):
    tiny_pair.write_text('labels = "names.txt"\n' + tiny_pair.read_text())
    (tmp_path / "names.txt").write_bytes(content)
    if problem:
        assert refusal(lambda: export(tiny_pair, tmp_path / "o")) == f"labels '{tmp_path / 'names.txt'}' {problem}"
    else:
        export(tiny_pair, tmp_path / "o")
        assert (tmp_path / "o/big/labels.txt").read_text().endswith("\ndog\nemu\nfox\ngnu\n")


def test_a_pair_file_may_have_a_byte_order_mark(tiny_pair):
    tiny_pair.write_bytes(b"\xef\xbb\xbf" + tiny_pair.read_bytes())
    assert load_pair(str(tiny_pair)).name == "tiny"


def test_settings_that_change_answers_change_the_identity(tiny_pair, tmp_path):
    first = export(tiny_pair, tmp_path / "out").provenance["stages"]
    tiny_pair.write_text(tiny_pair.read_text().replace("crop_pct = 0.8", "crop_pct = 0.7"))
    second = export(tiny_pair, tmp_path / "out").provenance["stages"]
    assert first["little"]["weights"] != second["little"]["weights"]
    assert first["big"]["weights"] == second["big"]["weights"]


def test_an_output_that_cannot_be_written_is_refused_before_the_work(tiny_pair, tmp_path, monkeypatch):
    monkeypatch.setattr("littlebig_export.exporting.prepare", lambda model: pytest.fail("work was done"))
    (tmp_path / "file").touch()
    message = refusal(lambda: export(tiny_pair, tmp_path / "file" / "out"))
    assert message == f"'{tmp_path / 'file' / 'out'}' cannot be written: Not a directory; choose another --output"
    long = tmp_path / ("x" * 300)
    assert refusal(lambda: export(tiny_pair, long)) == (
        f"'{long}' cannot be written: File name too long; choose another --output"
    )
    (tmp_path / "loop").symlink_to("loop")
    assert refusal(lambda: export(tiny_pair, tmp_path / "loop")) == (
        f"'{tmp_path / 'loop'}' cannot be written: Too many levels of symbolic links; choose another --output"
    )
    assert refusal(lambda: export(tiny_pair, Path("/"))).startswith("'/' is a mount point")
    monkeypatch.setattr("tempfile.mkdtemp", refuse_to_write)
    assert refusal(lambda: export(tiny_pair, tmp_path / "new" / "out")) == (
        f"'{tmp_path / 'new' / 'out'}' cannot be written: Read-only file system; choose another --output"
    )


def refuse_to_write(*_, **__):
    raise OSError(30, "Read-only file system")


def test_a_link_to_a_repository_stays_a_link(tiny_pair, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    export(tiny_pair, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "littlebig.json").is_file()


@pytest.mark.parametrize("name", ["réf [1]", "模型[a-z]"])
def test_paths_may_have_any_characters(tiny_pair, tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    for path in (tiny_pair, tmp_path / "little.onnx", tmp_path / "big.onnx"):
        path.rename(folder / path.name)
    export(folder / tiny_pair.name, folder / "out")
    assert (folder / "out" / "big" / "1" / "model.onnx").is_file()


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch):
    asked = []

    class Session:
        def head(self, url, timeout):
            asked.append(timeout)
            raise ConnectionError(url)

    monkeypatch.setattr("huggingface_hub.get_session", Session)
    message = refusal(lambda: load_timm(TimmModel("efficientvit_l1.r224_in1k", "hub")))
    assert "cannot be loaded from timm's hub" in message
    assert asked == [3.0]
