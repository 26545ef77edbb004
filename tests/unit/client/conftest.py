from collections.abc import Iterator

import pytest
from fake_triton import FakeTriton

from littlebig_client import Client


@pytest.fixture
def server() -> Iterator[FakeTriton]:
    fake = FakeTriton()
    yield fake
    fake.stop()


@pytest.fixture
def client(server: FakeTriton) -> Iterator[Client]:
    with Client(server.url) as connected:
        yield connected
