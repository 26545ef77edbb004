"""A stage sees the canonical image as nearly as it can like its model's own transform of the picture."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from PIL import Image, ImageOps

from littlebig_contract.onnx_runtime import open_session
from littlebig_export.agreement import wilson
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair
from littlebig_export.parity import fit
from littlebig_export.pictures import CROPS, crops
from littlebig_export.preprocessing import Preprocessing
from littlebig_export.stage_graph import view_of_image
from littlebig_export.view import view, view_matrix

HALVES = (0.5, 0.5, 0.5)
LITTLE = Preprocessing(112, 0.875, "center", "bicubic", HALVES, HALVES)
BIG = Preprocessing(130, 0.89, "center", "bicubic", HALVES, HALVES)


def error(ours, theirs):
    return float(np.sqrt(np.mean((np.asarray(ours, float) - np.asarray(theirs, float)) ** 2)))


def test_a_view_is_nearer_to_the_models_own_than_a_second_resampling():
    start = (1.0 - LITTLE.kept / BIG.kept) * BIG.size / 2.0
    box = (start, start, BIG.size - start, BIG.size - start)
    for shorter in (90, 135, 220, 400):
        ours, resampled = [], []
        for crop in crops()[:8]:
            # Square: along a longer side both transforms round where they crop, which no resampling can know.
            picture = ImageOps.fit(crop, (shorter, shorter), Image.Resampling.LANCZOS)
            canonical, wanted = fit(picture, BIG), fit(picture, LITTLE)
            ours.append(error(view(np.asarray(canonical), BIG, LITTLE), wanted))
            resampled.append(error(canonical.resize(wanted.size, Image.Resampling.BICUBIC, box), wanted))
        assert np.mean(ours) < 0.95 * np.mean(resampled), shorter


def test_flat_colour_stays_flat_and_the_canonical_image_itself_is_left_alone():
    grey = np.full((BIG.size, BIG.size, 3), 255, np.uint8)
    assert view(grey, BIG, LITTLE) == pytest.approx(np.full((LITTLE.size, LITTLE.size, 3), 255.0), abs=0.01)
    assert view_matrix(BIG, BIG) is None


def test_a_border_around_the_picture_is_not_part_of_the_view():
    bordered = replace(BIG, crop_pct=1.15)  # 113 pixels of picture in 130
    white = fit(Image.new("RGB", (200, 200), "white"), bordered)
    assert np.asarray(white)[0, 0].tolist() == [0, 0, 0]
    # Without the noise of rounding, which W expects, a step would be followed exactly.
    assert view(np.asarray(white), bordered, LITTLE).min() > 250.0


def test_all_of_the_canonical_image_is_the_view_of_a_model_that_would_see_more():
    narrow = replace(BIG, crop_pct=0.5)
    matrix = view_matrix(narrow, LITTLE)
    assert matrix.shape == (112, 130)
    assert abs(matrix[0]).argmax() <= 1
    assert abs(matrix[-1]).argmax() >= 128


def test_weights_far_from_a_pixel_are_zero():
    matrix = view_matrix(BIG, LITTLE)
    assert max(np.ptp(np.flatnonzero(row)) for row in matrix) < 24
    assert matrix.sum(axis=1) == pytest.approx(np.ones(len(matrix)), abs=1e-4)


@pytest.mark.parametrize("canonical", [BIG, replace(BIG, crop_pct=1.15), replace(BIG, size=40)])
def test_bands_give_the_same_view_with_fewer_products(canonical):
    image = np.random.default_rng(0).integers(0, 256, (2, canonical.size, canonical.size, 3), np.uint8)
    views, weights = [], []
    for banded in (False, True):
        graph = view_of_image(LITTLE, canonical, banded=banded)
        onnx.checker.check_model(graph, full_check=True)
        views.append(open_session(graph.SerializeToString(), cpu_only=True).run(None, {"image": image})[0])
        weights.append(sum(np.prod(tensor.dims) for tensor in graph.graph.initializer))
    assert views[1] == pytest.approx(views[0], abs=1e-5)
    assert weights[1] < weights[0]


@pytest.mark.parametrize(("little", "big"), [("center", "squash"), ("squash", "center")])
def test_mixed_crop_modes_are_exported_with_a_line_that_says_so(tiny_pair, tmp_path, little, big):
    text = tiny_pair.read_text().replace("crop_pct = 0.8\n", f'crop_pct = 0.8\ncrop_mode = "{little}"\n')
    tiny_pair.write_text(text + f'crop_mode = "{big}"\n')
    lines = []
    export_pair(load_pair(str(tiny_pair)), "cpu", tmp_path / "out", report=lines.append)
    assert (
        f"little: its own crop mode is '{little}', but it sees pictures as big does: '{big}'; for '{little}' in both "
        f'stages set crop_mode = "{little}" under [big]'
    ) in lines
    assert f'string_value: "{big}"' in (tmp_path / "out/preprocess/config.pbtxt").read_text()


def test_crop_pct_above_one_is_served_with_its_border(tiny_pair, tmp_path):
    tiny_pair.write_text(tiny_pair.read_text().replace("crop_pct = 0.9", "crop_pct = 1.15"))
    export_pair(load_pair(str(tiny_pair)), "cpu", tmp_path / "out")
    assert 'string_value: "27"' in (tmp_path / "out/preprocess/config.pbtxt").read_text()


def test_agreement_with_the_own_transform_says_on_how_many_pictures_with_an_interval(tiny_pair, tmp_path):
    lines = []
    pair = load_pair(str(tiny_pair))
    export_pair(pair, "cpu", tmp_path / "out", report=lines.append)
    says = json.loads((tmp_path / "out/littlebig.json").read_text())["stages"]
    own = says["little"]["own_transform"]
    assert own["pictures"] == CROPS == len(crops())
    assert own["top1_agreement_low"] < own["top1_agreement"] <= own["top1_agreement_high"]
    assert "own_transform" not in says["big"]
    assert any(f" of {CROPS} crops of them, confidence differs by 0." in line for line in lines)
    export_pair(pair, "cpu", tmp_path / "out", pictures=crops()[:9], report=lines.append)
    assert any(" of 9 pictures, confidence differs by 0." in line for line in lines)


def test_wilsons_interval():
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, method 3
