"""Which class a folder of a labelled set stands for."""

import pytest

from littlebig_calibration.class_folders import classes_of_folders
from littlebig_calibration.errors import TableError
from littlebig_calibration.labelled import find_labelled_images

NAMES = ["tench, Tinca tinca", "Egyptian cat", "drilling platform, offshore rig"]


def test_numbers_are_the_classes_themselves():
    assert classes_of_folders(["0", "1", "10", "2"], 12, None) == {"0": 0, "1": 1, "10": 10, "2": 2}
    assert classes_of_folders(["03", "7", "11"], 12, None) == {"03": 3, "7": 7, "11": 11}
    fullwidth = [chr(0xFF10 + digit) for digit in range(3)] + ["\uff11\uff10"]
    assert classes_of_folders(fullwidth, 12, None) == dict(zip(fullwidth, [0, 1, 2, 10], strict=True))


def test_words_are_names_of_classes_in_any_order_and_spelling():
    folders = ["offshore_rig", "egyptian-cat", "Tinca tinca"]
    assert classes_of_folders(folders, 3, NAMES) == {"offshore_rig": 2, "egyptian-cat": 1, "Tinca tinca": 0}
    assert classes_of_folders(["Egyptian cat"], 3, NAMES) == {"Egyptian cat": 1}
    assert classes_of_folders(["cafe\u0301 "], 2, ["bar", "Caf\u00e9"]) == {"cafe\u0301 ": 1}


def test_other_names_stand_for_all_classes_in_their_order():
    assert classes_of_folders(["b", "c", "a"], 3, None) == {"a": 0, "b": 1, "c": 2}
    assert classes_of_folders(["b", "c", "a"], 3, NAMES) == {"a": 0, "b": 1, "c": 2}


def test_some_of_imagenets_synsets_are_their_place_among_all():
    pytest.importorskip("timm")
    assert classes_of_folders(["n01443537", "n01440764"], 1000, None) == {"n01440764": 0, "n01443537": 1}
    assert classes_of_folders(["n15075141"], 1000, None) == {"n15075141": 999}


@pytest.mark.parametrize(
    ("folders", "names", "message"),
    [
        (["1", "2", "3"], None, "folders are numbered as classes, from 0 to 2: no class 3"),
        (["1", "01"], None, "two folders have the same number, with and without zeros in front: join them"),
        (["tench", "Tinca tinca"], NAMES, "folders Tinca tinca, tench have the name of one class: join them"),
        (
            ["a", "b"],
            None,
            "2 folders for 3 classes, and no class is called a, b: name each folder like its class or by its number "
            "from 0, or give labels as a CSV",
        ),
        (
            ["Egyptian cat", "dog", "tench"],
            NAMES,
            "3 folders for 3 classes, and no class is called dog: name each folder like its class or by its number "
            "from 0, or give labels as a CSV",
        ),
    ],
)
def test_folders_that_fix_no_classes_are_refused(folders, names, message):
    with pytest.raises(TableError) as caught:
        classes_of_folders(folders, 3, names)
    assert str(caught.value) == message


def test_hidden_and_empty_folders_shift_no_class(tmp_path):
    for folder in (".ipynb_checkpoints", "aa", "b", "c"):
        (tmp_path / folder).mkdir()
    for folder in (".ipynb_checkpoints", "b", "c"):
        (tmp_path / folder / "1.png").write_bytes(b"")
    (tmp_path / "c" / "._1.png").write_bytes(b"")
    images = find_labelled_images(tmp_path).with_classes(2, None)
    assert images.files == ("b/1.png", "c/1.png")
    assert images.labels == (0, 1)
