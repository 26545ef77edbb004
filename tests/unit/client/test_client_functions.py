"""Functions as images: a picture that is fetched by the client's threads when its turn comes."""

import asyncio

import pytest
from fake_triton import encoded_picture

from littlebig_client import AsyncClient, InvalidImage


def test_function_is_called_for_its_picture(client):
    assert client.classify(lambda: encoded_picture(4)).label == 4


def test_function_is_called_beside_the_event_loop(server):
    async def main():
        async with AsyncClient(server.url) as client:
            return await client.classify(lambda: encoded_picture(4))

    assert asyncio.run(main()).label == 4


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (FileNotFoundError("s3://bucket/a"), "no such file"),
        (PermissionError("access denied"), "cannot be read: access denied"),
        (RuntimeError(), "cannot be read: RuntimeError"),
        (InvalidImage("is a film"), "is a film"),
    ],
)
def test_failure_of_a_function_is_that_of_its_picture(client, failure, message):
    def fetch():
        raise failure

    first, second = client.classify_many([fetch, encoded_picture(1)])
    assert isinstance(first, InvalidImage)
    assert first.message == message
    assert second.label == 1
