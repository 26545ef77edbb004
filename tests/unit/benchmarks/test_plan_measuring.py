"""How a running server is measured."""

from types import SimpleNamespace

import pytest

from littlebig_benchmarks.planning.measuring import images_per_request


@pytest.mark.parametrize(("preferred", "most", "asked"), [([2], 32, 2), ([], 32, 8), ([], 4, 4)])
def test_a_busy_device_is_asked_for_the_preferred_size_or_eight_images(preferred, most, asked):
    batching = SimpleNamespace(preferred_batch_size=preferred)
    assert images_per_request(SimpleNamespace(dynamic_batching=batching, max_batch_size=most)) == asked
