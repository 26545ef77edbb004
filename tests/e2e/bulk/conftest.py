"""A real server with the tiny pair, and many small pictures."""

import numpy as np
import pytest
from PIL import Image

from littlebig_server import TritonServer

PICTURES = 400


@pytest.fixture(scope="module")
def tiny_server(tiny_repository):
    with TritonServer(tiny_repository) as running:
        yield running


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """A folder of small pictures; one of them is none."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for number in range(PICTURES - 1):
        Image.fromarray(random.integers(0, 256, (24, 24, 3), np.uint8)).save(folder / f"{number:05}.png")
    (folder / "broken.png").write_bytes(b"nonsense")
    return folder
