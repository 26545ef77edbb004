"""A program that uses the client, for type checkers: each annotation states what the wheel's types must say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from littlebig_client import (
    AsyncClient,
    Candidate,
    Classification,
    Client,
    ClientError,
    Connection,
    Probe,
    ServerFailure,
    Stage,
    Tls,
    connection,
)


def classify(files: list[Path], batch: NDArray[np.uint8]) -> list[str]:
    """One image, a batch, many images."""
    with Client("localhost:8001", tls=Tls(ca=Path("ca.pem")), metadata={"x-team": "a"}, retry_for=60) as client:
        answer: Classification = client.classify(files[0], top_k=2, threshold=0.5, policy="cascade", within=1.0)
        answers: list[Classification] = client.classify_batch(batch)
        many: Iterator[Classification | ClientError] = client.classify_many(files, concurrency=4)
        names = [each.name for each in many if not isinstance(each, ClientError)]
        score: str = client.score()
    first: Candidate = answer.top_k[0]
    stage: Stage = answers[0].stage
    return [*names, first.name, stage.value, score]


async def classify_in_a_loop(images: AsyncIterator[bytes]) -> int:
    """The same in an event loop."""
    async with AsyncClient(shared_memory=True) as client:
        answer: Classification = await client.classify(b"...")
        count = answer.label
        async for each in client.classify_many(images):
            count += each.label if isinstance(each, Classification) else 0
    return count


def reach() -> tuple[str, str | None]:
    """A probe, and a connection for other calls."""
    way: Connection = connection("localhost:8001", token="secret")  # noqa: S106
    with Probe(way.url, big_required=False) as probe:
        try:
            probe.ready()
        except ServerFailure as failure:
            return failure.status, failure.image
    return way.url, way.proxy


async def _images() -> AsyncIterator[bytes]:
    yield b"..."


if __name__ == "__main__":
    print(
        classify([Path("a.png")], np.zeros((1, 32, 32, 3), np.uint8)),
        asyncio.run(classify_in_a_loop(_images())),
        reach(),
    )
