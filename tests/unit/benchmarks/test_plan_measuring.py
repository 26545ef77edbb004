"""How a running server is measured."""

from types import SimpleNamespace

import pytest

from littlebig_benchmarks.planning.measuring import images_per_request


@pytest.mark.parametrize(("preferred", "most", "sent"), [([2], 32, 2), ([], 32, 8), ([], 4, 4)])
def test_busy_stage_gets_requests_of_the_preferred_size_or_eight_images(preferred, most, sent):
    batching = SimpleNamespace(preferred_batch_size=preferred)
    assert images_per_request(SimpleNamespace(dynamic_batching=batching, max_batch_size=most)) == sent
