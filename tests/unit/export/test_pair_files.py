import pytest

from littlebig_export.errors import PairError
from littlebig_export.pair import OnnxModel, TimmModel, check_files, load_pair, shipped_pairs


def test_the_documented_pairs_are_shipped():
    assert shipped_pairs() == ["deit3", "efficientnet", "efficientnet-lite", "efficientvit", "internimage"]


@pytest.mark.parametrize("name", shipped_pairs())
def test_each_shipped_pair_is_valid_and_has_the_name_of_its_file(name):
    pair = load_pair(name)
    assert pair.name == name
    assert isinstance(pair.little, TimmModel)
    assert isinstance(pair.big, TimmModel)


def write(folder, text):
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


ONNX = """
name = "mine"
labels = "names.txt"
threshold = 0.7
[little]
onnx = "little.onnx"
size = 224
[big]
onnx = "big.onnx"
size = 256
crop_pct = 1
mean = [0, 0, 0]
scores = "probabilities"
"""


def test_paths_of_onnx_files_are_relative_to_the_pair_file(tmp_path):
    pair = load_pair(write(tmp_path, ONNX))
    assert pair.labels == tmp_path / "names.txt"
    assert isinstance(pair.little, OnnxModel)
    assert isinstance(pair.big, OnnxModel)
    assert pair.little.path == tmp_path / "little.onnx"
    assert (pair.big.preprocessing.size, pair.big.preprocessing.resize, pair.big.scores) == (256, 256, "probabilities")


def test_an_unknown_pair_is_refused_with_the_names_of_the_shipped_ones():
    with pytest.raises(PairError) as error:
        load_pair("efficientnet-light")
    assert str(error.value) == (
        "no pair 'efficientnet-light': the shipped ones are deit3, efficientnet, efficientnet-lite, efficientvit, "
        "internimage; "
        "your own is a path to a .toml file"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("", "]", "not valid TOML: "),
        ("threshold = 0.7", "threshold = 7", "threshold 7.0 is outside [0, 1]"),
        ("threshold = 0.7", "threshold = 'high'", "the pair threshold = 'high' is not a number"),
        ("threshold = 0.7", "treshold = 0.7", "the pair has no setting 'treshold': did you mean 'threshold'?"),
        ('name = "mine"', 'name = "mi\\nne"', "the pair name = 'mi\\nne' is not a line of text"),
        (
            'onnx = "little.onnx"',
            'onnx = "l"\narchitecture = "x"',
            "[little] has both 'architecture', of timm, and 'onnx'",
        ),
        ("size = 224", "size = 10000000", "[little] size 10000000 is not a number of pixels from 1 to 4096"),
        ("mean = [0, 0, 0]", "mean = [true, 0, 0]", "[big] mean = [True, 0, 0] is not three numbers"),
        ("mean = [0, 0, 0]", "mean = [124, 117, 104]", "[big] mean (124.0, 117.0, 104.0) and std (0.229, "),
        ("mean = [0, 0, 0]", "mean = [nan, 0, 0]", "[big] mean (nan, 0.0, 0.0) and std (0.229, "),
        ("crop_pct = 1", "crop_pct = 1e-300", "[big] crop_pct 1e-300 is outside [0.1, 2]"),
        ('name = "mine"', "", "the pair lacks 'name'"),
        ("[little]", "[small]", "the pair has no setting 'small'; it has "),
        ('onnx = "little.onnx"', "", "[little] needs an 'architecture' of timm or an 'onnx' file"),
        ('onnx = "little.onnx"\nsize = 224', 'onnx = "little.onnx"', "[little] lacks 'size'"),
        ("size = 224", "size = true", "[little] size = True is not a whole number"),
        ("mean = [0, 0, 0]", "mean = [0, 0]", "[big] mean = [0, 0] is not three numbers"),
        ("crop_pct = 1", "crop_pct = 0", "[big] crop_pct 0.0 is outside [0.1, 2]"),
        ('"probabilities"', '"odds"', "[big] scores 'odds' is not 'logits' or 'probabilities'"),
        (
            "crop_pct = 1",
            "std = [0, 1, 1]",
            "[big] mean (0.0, 0.0, 0.0) and std (0.0, 1.0, 1.0) are not of values in [0, 1]: ",
        ),
    ],
)
def test_an_invalid_setting_is_refused_with_the_name_of_its_file(tmp_path, old, new, message):
    path = write(tmp_path, ONNX.replace(old, new) if old else ONNX + new)
    with pytest.raises(PairError) as error:
        load_pair(path)
    assert str(error.value).startswith(f"{path}: {message}")


def test_weights_come_from_one_of_four_places(tmp_path):
    text = 'name = "x"\n[little]\narchitecture = "resnet18"\nweights = "ftp"\n[big]\narchitecture = "resnet50"\n'
    with pytest.raises(PairError, match="weights 'ftp' is not 'package:NAME', 'hub', 'random' or 'file:PATH'"):
        load_pair(write(tmp_path, text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PairError, match=r"no pair file '.*none\.toml'"):
        load_pair(str(tmp_path / "none.toml"))


def test_a_pair_file_of_another_encoding_is_called_that_and_its_name_may_end_in_capitals(tmp_path):
    path = tmp_path / "mine.TOML"
    path.write_bytes(ONNX.encode("utf-16"))
    with pytest.raises(PairError) as error:
        load_pair(str(path))
    assert str(error.value) == f"pair file '{path}' is not UTF-8 (byte 0): save it as UTF-8"
    path.write_text(ONNX)
    assert load_pair(str(path)).name == "mine"


@pytest.mark.parametrize(("missing", "what"), [("big.onnx", "ONNX"), ("names.txt", "labels")])
def test_a_missing_file_is_found_out_before_any_model_is_read(tmp_path, missing, what):
    pair = load_pair(write(tmp_path, ONNX))
    for name in {"little.onnx", "big.onnx", "names.txt"} - {missing}:
        (tmp_path / name).touch()
    with pytest.raises(PairError) as error:
        check_files(pair)
    assert str(error.value) == f"pair 'mine': there is no {what} file '{tmp_path / missing}'"
    (tmp_path / missing).touch()
    check_files(pair)
