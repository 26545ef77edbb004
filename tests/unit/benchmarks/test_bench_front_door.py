"""Large files for the front door: as large and as noisy as a camera's, with the content of small ones."""

import io

import numpy as np
from PIL import Image

from littlebig_benchmarks import front_door
from littlebig_benchmarks.images import Pictures, crops, photographs
from littlebig_benchmarks.scenario import Scenario


def test_large_files_have_the_content_of_the_surest_and_the_unsurest_crops(monkeypatch):
    monkeypatch.setattr(front_door, "_SIDE", 1000)  # a twelfth of the pixels
    monkeypatch.setattr(front_door, "_OF_EACH_KIND", 1)
    encoded = crops(photographs(None), 4, seed=0)
    scores = (0.4, 0.2, 0.9, 0.7)
    pictures = Pictures(tuple(encoded), np.zeros((4, 1, 1, 3), np.uint8), np.array(scores) < 0.5, scores)
    files = front_door.large_files(pictures, seed=0)
    assert files == front_door.large_files(pictures, seed=0)
    for file, source in zip(files, (encoded[1], encoded[2]), strict=True):
        large, small = (Image.open(io.BytesIO(content)) for content in (file, source))
        assert (large.format, large.size) == ("JPEG", (1000, 1000))
        assert 0.2 < len(file) / 1e6 < 0.5  # 2.4 to 6 MB at full size
        difference = np.asarray(large.resize(small.size, Image.Resampling.BOX), float) - np.asarray(small, float)
        assert np.abs(difference).mean() < 4


def test_front_door_has_the_same_load_for_all_contenders():
    cases = front_door.cases(Scenario(escalations=(0.2, 0.3), concurrency=(4, 8)))
    assert {(case.escalation, case.concurrency, case.own_load) for case in cases} == {(0.2, 8, True)}
    assert [case.contender for case in cases] == ["little_big", "classify_small", "classify_12mp"]
