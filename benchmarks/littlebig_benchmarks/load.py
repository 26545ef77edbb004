"""Our own load generator, which knows the image of each request: latency of sure and of unsure images separately.

perf_analyzer reports all requests of a run together, and keeps the input of every request in memory. Runs are bounded
in time and in requests.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from littlebig_benchmarks.endpoint import Endpoint
from littlebig_benchmarks.errors import RunFailed
from littlebig_benchmarks.images import Mix, Pictures

# A response that takes longer is a failure of the server, not a latency.
_MAX_WAIT_S = 60.0
_DEADLINE = "StatusCode.DEADLINE_EXCEEDED"
# Bounds the memory of a run against a server that has stopped answering.
_MOST_IN_FLIGHT = 512


@dataclass(frozen=True)
class Load:
    """The requests of one run.

    Attributes:
        model: a model that takes canonical images, or `classify`, which takes JPEG files.
        seconds: time after which no request is sent.
        concurrency: requests in flight; 0 with a request rate.
        request_rate: requests per second, arriving as a Poisson process; 0 with a concurrency.
        requests: largest number of requests.
        seed: of the arrivals.
        may_fail: whether requests may fail; otherwise the first error ends the run.
        threshold: parameter of each request; None for the model's own.
    """

    model: str
    seconds: float
    concurrency: int = 0
    request_rate: float = 0.0
    requests: int = 100_000
    seed: int = 0
    may_fail: bool = False
    threshold: float | None = None


@dataclass(frozen=True)
class Reply:
    """The outcome of one request.

    Attributes:
        picture: index of its image among the pictures.
        sent: seconds since the first request.
        ms: milliseconds until the response.
        label: the predicted class; None with an error.
        stage: the output `stage`, where the model has it.
        error: the server's message; empty without an error.
        lost: whether there was no response within a minute.
    """

    picture: int
    sent: float
    ms: float
    label: int | None = None
    stage: int | None = None
    error: str = ""
    lost: bool = False


@dataclass
class Answers:
    """The outcome of one run.

    Attributes:
        sure_ms: latency of each image that little is sure of.
        unsure_ms: latency of each image that little is unsure of.
        stages: output `stage` -> number of images; empty where the model has no such output.
        seconds: from the first request to the last response.
        replies: every request, failed ones too, in the order of their responses.
    """

    sure_ms: list[float] = field(default_factory=list)
    unsure_ms: list[float] = field(default_factory=list)
    stages: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    replies: list[Reply] = field(default_factory=list)

    @property
    def images(self) -> int:
        """How many images were answered."""
        return len(self.sure_ms) + len(self.unsure_ms)

    @property
    def images_per_second(self) -> float:
        """Images over the whole time."""
        return self.images / self.seconds

    def measures(self) -> dict[str, float]:
        """The figures of a run; a kind of image that was not sent has none."""
        measures = {"images": float(self.images), "images_per_second": self.images_per_second}
        everything = [*self.sure_ms, *self.unsure_ms]
        for name, values in (("", everything), ("sure_", self.sure_ms), ("unsure_", self.unsure_ms)):
            if values:
                for share in (50, 90, 99):
                    measures[f"{name}p{share}_ms"] = float(np.percentile(values, share))
        if self.stages:
            measures["escalation"] = self.stages.get(1, 0) / sum(self.stages.values())
        return measures


def arrival_times(load: Load, requests: int) -> Iterator[float]:
    """Seconds at which the requests of a request rate are sent, the first at 0; the same for the same seed."""
    gaps = np.random.default_rng(load.seed)
    due = 0.0
    for _ in range(requests):
        yield due
        due += gaps.exponential(1 / load.request_rate)


def run(endpoint: Endpoint, load: Load, pictures: Pictures, mix: Mix) -> Answers:
    """Send requests of one image each, in the mix's order.

    Raises:
        RunFailed: if a request fails or has no response within a minute, unless requests may fail.
    """
    return asyncio.run(_Run(load, pictures, mix).go(endpoint))


class _Run:
    def __init__(self, load: Load, pictures: Pictures, mix: Mix) -> None:
        self._load = load
        self._mix = mix
        self._pictures = pictures
        self._inputs: dict[int, triton.InferInput] = {}
        self._outputs: list[triton.InferRequestedOutput] = []
        self._parameters = None if load.threshold is None else {"threshold": load.threshold}
        self._answers = Answers()
        self._sent = 0
        self._started = self._end = 0.0

    async def go(self, endpoint: Endpoint) -> Answers:
        async with endpoint.open_async() as client:
            metadata = await client.get_model_metadata(self._load.model)
            names = {output.name for output in metadata.outputs}
            self._outputs = [triton.InferRequestedOutput(name) for name in sorted(names & {"label", "stage"})]
            encode = _encoded_image if metadata.inputs[0].name == "encoded_image" else _canonical_image
            self._inputs = {place: encode(self._pictures, place) for place in set(self._mix.order.tolist())}
            self._started = time.perf_counter()
            self._end = self._started + self._load.seconds
            try:
                await (self._in_flight(client) if self._load.concurrency else self._arrivals(client))
            except InferenceServerException as reason:
                raise RunFailed(
                    f"'{self._load.model}' at {endpoint.url} failed after {self._answers.images} answers: "
                    f"{reason.message()}"
                ) from None
            self._answers.seconds = time.perf_counter() - self._started
        return self._answers

    async def _in_flight(self, client: triton.InferenceServerClient) -> None:
        async def send() -> None:
            while self._may_send():
                await self._ask(client, self._next_place())

        await asyncio.gather(*(send() for _ in range(self._load.concurrency)))

    async def _arrivals(self, client: triton.InferenceServerClient) -> None:
        flying: set[asyncio.Task[None]] = set()
        async for _ in self._poisson():
            flying = {task for task in flying if not _is_over(task)}
            if len(flying) >= _MOST_IN_FLIGHT:
                await asyncio.wait(flying, return_when=asyncio.FIRST_COMPLETED)
            flying.add(asyncio.create_task(self._ask(client, self._next_place())))
        await asyncio.gather(*flying)

    async def _poisson(self) -> AsyncIterator[None]:
        started = time.perf_counter()
        for due in arrival_times(self._load, self._load.requests):
            if not self._may_send():
                return
            await asyncio.sleep(max(0.0, started + due - time.perf_counter()))
            yield

    def _may_send(self) -> bool:
        return self._sent < self._load.requests and time.perf_counter() < self._end

    def _next_place(self) -> int:
        self._sent += 1
        return (self._sent - 1) % len(self._mix.order)

    async def _ask(self, client: triton.InferenceServerClient, place: int) -> None:
        picture = int(self._mix.order[place])
        sent = time.perf_counter()

        def reply(**outcome: Any) -> None:
            milliseconds = (time.perf_counter() - sent) * 1e3
            self._answers.replies.append(Reply(picture, sent - self._started, milliseconds, **outcome))

        try:
            answer = await client.infer(
                self._load.model,
                [self._inputs[picture]],
                outputs=self._outputs,
                parameters=self._parameters,
                client_timeout=_MAX_WAIT_S,
            )
        except InferenceServerException as reason:
            if not self._load.may_fail:
                raise
            reply(error=reason.message(), lost=reason.status() == _DEADLINE)
            return
        stage = answer.as_numpy("stage")
        number = None if stage is None else int(stage.item())
        reply(label=int(answer.as_numpy("label").item()), stage=number)
        milliseconds = self._answers.replies[-1].ms
        (self._answers.unsure_ms if self._mix.unsure[place] else self._answers.sure_ms).append(milliseconds)
        if number is not None:
            self._answers.stages[number] = self._answers.stages.get(number, 0) + 1


def _is_over(task: asyncio.Task[None]) -> bool:
    """Whether a request has its response; raises its exception if it failed."""
    if task.done():
        task.result()
        return True
    return False


def _canonical_image(pictures: Pictures, place: int) -> triton.InferInput:
    shape: Sequence[int] = (1, *pictures.canonical.shape[1:])
    tensor = triton.InferInput("image", list(shape), "UINT8")
    tensor.set_data_from_numpy(pictures.canonical[place : place + 1])
    return tensor


def _encoded_image(pictures: Pictures, place: int) -> triton.InferInput:
    tensor = triton.InferInput("encoded_image", [1, 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[pictures.encoded[place]]], object))
    return tensor
