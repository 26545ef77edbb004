import pytest

from tests.tiny_pair import write_tiny_pair


@pytest.fixture
def tiny_pair(tmp_path):
    """Path of a pair file with its two ONNX files beside it; the test may overwrite any of the three."""
    return write_tiny_pair(tmp_path)
