"""Picture suffixes, pictures in a folder, and the photographs of scikit-image."""

import sys
from pathlib import Path

import pytest
from PIL import Image

from littlebig_contract.pictures import PHOTOGRAPHS, SUFFIXES, is_picture, pictures_in, sample_photographs


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.jpg", True), ("a.JPEG", True), ("a.b.webp", True), ("._a.jpg", False), ("a.txt", False), ("jpg", False)],
)
def test_suffix_decides_what_is_a_picture(name, expected):
    assert is_picture(Path("folder") / name) is expected


def test_pictures_in_lists_picture_files_at_any_depth_sorted(tmp_path):
    (tmp_path / "deep" / "er.png").mkdir(parents=True)  # a folder with a picture's name
    for name in ("b.png", "a.txt", "deep/a.gif", "._b.png", "deep/er.png/c.bmp"):
        (tmp_path / name).touch()
    names = [path.relative_to(tmp_path).as_posix() for path in pictures_in(tmp_path)]
    assert names == ["b.png", "deep/a.gif", "deep/er.png/c.bmp"]


def test_every_suffix_is_a_format_that_pillow_knows():
    assert set(SUFFIXES) <= set(Image.registered_extensions())


def test_sample_photographs_are_files():
    pytest.importorskip("skimage")
    paths = sample_photographs()
    assert [path.name for path in paths] == list(PHOTOGRAPHS)
    assert all(path.is_file() for path in paths)
    assert [path.name for path in sample_photographs(("coffee.png",))] == ["coffee.png"]


def test_sample_photographs_without_scikit_image_name_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError) as error:
        sample_photographs()
    assert error.value.name == "skimage"
