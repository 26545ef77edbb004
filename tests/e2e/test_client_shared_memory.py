"""Images through system shared memory of a real tritonserver: the answers of ordinary requests, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc
from PIL import Image
from tests.e2e.gate.puppets import until
from tritonclient.utils import InferenceServerException

from littlebig_client import AsyncClient, Classification, Client, RequestRejected
from littlebig_server import ServerSettings, TritonServer

CANONICAL = list(np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), np.uint8))


def encoded(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


# Encoded pictures differ in length, so a region holds a longer one before a shorter one.
IMAGES = [image for array in CANONICAL for image in (array, encoded(array[: 8 + array[0, 0, 0] % 24]))]


@pytest.fixture(scope="module")
def served(tiny_repository):
    with TritonServer(tiny_repository, ServerSettings(client_shared_memory=True)) as server:
        yield server.grpc_url


@pytest.fixture
def triton(served):
    with tritonclient.grpc.InferenceServerClient(served) as connected:
        yield connected


def regions(triton) -> list[str]:
    return list(triton.get_system_shared_memory_status().regions)


def test_answers_are_those_of_ordinary_requests(served, triton):
    with Client(served) as client:
        expected = list(client.classify_many(IMAGES))
        expected_batch = client.classify_batch(np.stack(CANONICAL))
    assert all(isinstance(answer, Classification) for answer in expected)
    with Client(served, shared_memory=True) as client:
        assert list(client.classify_many(IMAGES, concurrency=8)) == expected
        assert client.classify_batch(np.stack(CANONICAL)) == expected_batch
        assert 1 <= len(regions(triton)) <= 16
        assert not list(Path("/dev/shm").glob("littlebig-client-*"))  # noqa: S108  (names are removed at once)
    assert regions(triton) == []


def test_async_client_uses_it_too(served, triton):
    async def ask():
        async with AsyncClient(served, shared_memory=True) as client:
            answers = [answer async for answer in client.classify_many(IMAGES)]
            return answers, regions(triton)

    with Client(served) as client:
        expected = list(client.classify_many(IMAGES))
    answers, registered = asyncio.run(ask())
    assert answers == expected
    assert registered
    assert regions(triton) == []


def forgets_regions(triton):
    """Unregister all regions; False while Triton still lets go of the last request."""
    with contextlib.suppress(InferenceServerException):
        triton.unregister_system_shared_memory()
        return True
    return False


def test_server_that_forgot_the_regions_gets_them_again(served, triton):
    with Client(served, shared_memory=True) as client:
        expected = client.classify(CANONICAL[0])
        until(lambda: forgets_regions(triton), "the server forgets its regions")  # as a restart does
        assert client.classify(CANONICAL[0]) == expected


def test_rejected_picture_leaves_its_region_to_the_next(served, triton):
    with Client(served, shared_memory=True) as client:
        for _ in range(3):
            with pytest.raises(RequestRejected, match="is not a JPEG"):
                client.classify(b"junk" * 10)
        assert len(regions(triton)) == 1
