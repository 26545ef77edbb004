"""One pair of tiny models for all benchmarks."""

import pytest
from tests.tiny_pair import write_tiny_pair


@pytest.fixture(scope="session")
def mixed_repository(tmp_path_factory):
    """The tiny pair with a threshold at which little is sure of some photographs and unsure of others."""
    # torch takes seconds to import, which tests that need no export should not wait for.
    from littlebig_export.exporting import export_pair  # noqa: PLC0415
    from littlebig_export.pair import load_pair  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("mixed")
    export_pair(load_pair(str(write_tiny_pair(folder))), "cpu", folder / "models", threshold=0.9)
    return folder / "models"
