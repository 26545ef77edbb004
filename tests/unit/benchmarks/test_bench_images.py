"""Pictures mixed to a wanted escalation rate."""

import base64
import json

import numpy as np
import pytest
from PIL import Image

from littlebig_benchmarks import images
from littlebig_benchmarks.errors import ImagesError

PICTURES = images.for_stages_that_do_nothing(40, 0.5, (4, 4, 3), seed=0)


@pytest.mark.parametrize("escalation", [0.05, 0.15, 0.35, 0.9])
@pytest.mark.parametrize("concurrency", [1, 8, 16, 32])
def test_escalation_rate_is_exact_overall_and_for_every_sender(escalation, concurrency):
    mix = images.mix(PICTURES, escalation, concurrency, seed=3)
    assert mix.escalation == pytest.approx(escalation)
    for sender in range(concurrency):
        assert mix.unsure[sender::concurrency].mean() == pytest.approx(escalation)
    assert (PICTURES.unsure[mix.order] == mix.unsure).all()


def test_run_that_ends_early_has_nearly_the_same_escalation_rate():
    mix = images.mix(PICTURES, 0.15, 16, seed=0)
    for length in range(80, len(mix.order)):
        assert mix.unsure[:length].mean() == pytest.approx(0.15, abs=0.03)


def test_same_seed_gives_the_same_order():
    first, again, other = (images.mix(PICTURES, 0.35, 16, seed) for seed in (1, 1, 2))
    assert (first.order == again.order).all()
    assert (first.order != other.order).any()


def test_rate_that_is_no_multiple_of_a_twentieth_is_met_closely():
    assert images.mix(PICTURES, 1 / 3, 4, seed=0).escalation == pytest.approx(1 / 3)


@pytest.mark.parametrize(("share", "word"), [(0.0, "sure"), (1.0, "unsure")])
def test_pictures_of_one_kind_cannot_be_mixed(share, word):
    pictures = images.for_stages_that_do_nothing(10, share, (2, 2, 3), seed=0)
    with pytest.raises(ImagesError) as error:
        images.mix(pictures, 0.15, 4, seed=0)
    assert str(error.value) == (
        f"little is {word} of all 10 pictures at the threshold in force: a mix needs both kinds; give more --images"
    )


def test_crops_are_jpeg_files_and_the_same_for_the_same_seed():
    paths = images.photographs(None)[:2]
    made = images.crops(paths, 4, seed=5)
    assert made == images.crops(paths, 4, seed=5)
    assert made != images.crops(paths, 4, seed=6)
    assert all(file.startswith(b"\xff\xd8\xff") for file in made)


def test_folder_without_pictures_and_unreadable_picture_are_refused(tmp_path):
    with pytest.raises(ImagesError) as error:
        images.photographs(tmp_path)
    assert str(error.value) == (
        f"no pictures in '{tmp_path}' (.bmp, .gif, .jpeg, .jpg, .png, .webp): give another --images folder"
    )
    (tmp_path / "a.png").write_text("no picture")
    with pytest.raises(ImagesError, match=r"a.png' cannot be read as a picture: remove it, or give other --images$"):
        images.crops(images.photographs(tmp_path), 1, seed=0)


def test_pictures_of_a_folder_are_used(tmp_path):
    Image.new("RGB", (60, 50), (1, 2, 3)).save(tmp_path / "b.png")
    assert images.photographs(tmp_path) == [tmp_path / "b.png"]
    assert len(images.crops(images.photographs(tmp_path), 3, seed=0)) == 3


def test_perf_analyzer_input_has_images_in_order_and_files_with_their_length():
    mix = images.mix(PICTURES, 0.5, 2, seed=0)
    data = json.loads(images.perf_analyzer_input(PICTURES, mix, encoded=False))["data"]
    sent = [base64.b64decode(entry["image"]["b64"]) for entry in data]
    assert sent == [PICTURES.canonical[place].tobytes() for place in mix.order]
    encoded = images.Pictures((b"first", b"other"), np.zeros((2, 1, 1, 3), np.uint8), np.array([True, False]))
    mix = images.mix(encoded, 0.5, 1, seed=0)
    data = json.loads(images.perf_analyzer_input(encoded, mix, encoded=True))["data"]
    assert base64.b64decode(data[0]["encoded_image"]["b64"])[:4] == b"\x05\0\0\0"
