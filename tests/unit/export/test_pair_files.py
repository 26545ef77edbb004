import pytest

from littlebig_export.errors import PairError
from littlebig_export.pair import OnnxModel, TimmModel, load_pair, shipped_pairs


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
        ("threshold = 0.7", "treshold = 0.7", "the pair has no setting 'treshold'; it has "),
        ('name = "mine"', "", "the pair lacks 'name'"),
        ("[little]", "[small]", "the pair has no setting 'small'; it has "),
        ('onnx = "little.onnx"', "", "[little] needs an 'architecture' of timm or an 'onnx' file"),
        ('onnx = "little.onnx"\nsize = 224', 'onnx = "little.onnx"', "[little] lacks 'size'"),
        ("size = 224", "size = true", "[little] size = True is not a whole number"),
        ("mean = [0, 0, 0]", "mean = [0, 0]", "[big] mean = [0, 0] is not three numbers"),
        ("crop_pct = 1", "crop_pct = 0", "crop_pct 0.0 is outside (0, 2]"),
        ('"probabilities"', '"odds"', "[big] scores 'odds' is not 'logits' or 'probabilities'"),
        ("crop_pct = 1", "std = [0, 1, 1]", "std (0.0, 1.0, 1.0) must be positive"),
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
