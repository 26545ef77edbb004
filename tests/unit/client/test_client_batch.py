"""classify_batch: many canonical images in one request."""

import asyncio
import pickle

import numpy as np
import pytest
from fake_triton import SHAPE, canonical

from littlebig_client import AsyncClient, Client, InvalidImage, InvalidRequest


def batch(*labels: int) -> np.ndarray:
    return np.stack([canonical(label) for label in labels])


def test_batch_is_one_request_with_the_answers_of_single_images(server, client):
    assert client.classify_batch(batch(3, 1, 2), top_k=2) == [client.classify(canonical(i), top_k=2) for i in (3, 1, 2)]
    assert len(server.seen) == 4


def test_batch_larger_than_the_served_one_is_split(server, client):
    labels = [i % 10 for i in range(11)]
    assert [answer.label for answer in client.classify_batch(batch(*labels))] == labels
    assert len(server.seen) == 3


def test_async_client_takes_batches(server):
    async def ask():
        async with AsyncClient(server.url) as client:
            return await client.classify_batch(batch(1, 2))

    assert [answer.label for answer in asyncio.run(ask())] == [1, 2]


def test_options_reach_every_request_of_a_batch(server, client):
    client.classify_batch(batch(*range(5)), threshold=0.5, within=2)
    assert [seen.parameters for seen in server.seen] == [{"threshold": 0.5, "timeout": 2_000_000}] * 2


def test_strided_batch_is_sent_as_it_reads(client):
    backwards = batch(1, 2, 3)[::-1]
    assert [answer.label for answer in client.classify_batch(backwards)] == [3, 2, 1]


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((0, *SHAPE), np.uint8),
        np.zeros(SHAPE, np.uint8),
        np.zeros((2, *SHAPE), np.float32),
        np.zeros((2, 3, 26, 24), np.uint8),
    ],
    ids=lambda images: f"{images.dtype} {images.shape}",
)
def test_wrong_batch_is_refused_with_the_expected_shape(server, client, images):
    with pytest.raises(InvalidImage) as refused:
        client.classify_batch(images)
    assert str(refused.value) == (
        f"a batch must be canonical images, uint8 [N, 26, 24, 3], not {images.dtype} {list(images.shape)}"
    )
    assert server.seen == []


def test_list_is_no_batch(client):
    with pytest.raises(InvalidImage, match=r"a list is not a batch: pass a uint8 array \[N, H, W, 3\]"):
        client.classify_batch([canonical(1)])


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_client_is_pickled_with_its_settings(kind):
    client = kind("localhost:8001", 7, retry_for=3, token="secret", metadata={"a": "b"}, compression="gzip")  # noqa: S106
    copy = pickle.loads(pickle.dumps(client))  # noqa: S301  (pickled in this line)
    assert type(copy) is kind
    assert copy._settings == client._settings
    assert copy._session.calls.connection == client._session.calls.connection


def test_pickled_client_connects_by_itself(server, client):
    client.classify(canonical(1))
    with pickle.loads(pickle.dumps(client)) as copy:  # noqa: S301  (pickled in this line)
        client.close()
        assert copy.classify(canonical(2)).label == 2
    with pytest.raises(InvalidRequest):
        client.classify(canonical(1))
