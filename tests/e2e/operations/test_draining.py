"""Servers are stopped and replaced under load without a lost request: with littlebig's client, and with any client whose
new connections go elsewhere first."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc
from tests.e2e.gate.puppets import until
from tests.e2e.operations.service import Service
from tritonclient.utils import InferenceServerException

from littlebig_client import Classification, Client, ClientError, ServerFailure, ServerUnreachable
from littlebig_server import ServerSettings, TritonServer

CLIENTS, REQUESTS = 16, 200
IMAGES = list(np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8))
EXIT_TIMEOUT = 10
# Triton ends a connection gracefully after a second; the client then connects to a server that is still ready.
SHORT_CONNECTIONS = ("--grpc-max-connection-age=1000",)


class Load:
    """Requests with concurrency CLIENTS inside a `with` statement; every image is escalated."""

    def __init__(self, client: Client) -> None:
        self._client, self._over = client, threading.Event()
        self.answers: list[Classification | ClientError] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)

    def failures(self) -> list[str]:
        return [str(answer) for answer in self.answers if isinstance(answer, ClientError)]

    def more(self, count: int) -> None:
        """Wait until `count` more are answered."""
        enough = len(self.answers) + count
        until(lambda: len(self.answers) >= enough, f"{count} more answers", 120)

    def _run(self) -> None:
        self.answers.extend(self._client.classify_many(self._images(), concurrency=CLIENTS, threshold=1.0))

    def _images(self) -> Iterator[np.ndarray]:
        return itertools.takewhile(lambda _: not self._over.is_set(), itertools.cycle(IMAGES))


def start(repository, *, port: int = 0, arguments: tuple[str, ...] = ()) -> TritonServer:
    server = TritonServer(repository, ServerSettings(grpc_port=port, exit_timeout=EXIT_TIMEOUT, arguments=arguments))
    server.start()
    return server


def start_two(repository, arguments: tuple[str, ...] = ()) -> list[TritonServer]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda _: start(repository, arguments=arguments), range(2)))


def stop_all(servers: list[TritonServer]) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(TritonServer.stop, servers))


@pytest.fixture
def servers(tiny_repository):
    """Two servers; a test may replace them in the list."""
    running = start_two(tiny_repository)
    yield running
    stop_all(running)


def port_of(server: TritonServer) -> int:
    return int(server.grpc_url.rpartition(":")[2])


def answered(server: TritonServer) -> int:
    with tritonclient.grpc.InferenceServerClient(server.grpc_url) as triton:
        return triton.get_inference_statistics("little_big").model_stats[0].inference_stats.success.count


@pytest.mark.slow
def test_servers_are_stopped_and_replaced_without_a_failed_request(servers, tiny_repository):
    target = "ipv4:" + ",".join(server.grpc_url for server in servers)
    with Client(target) as client, Load(client) as load:
        for turn in range(3):
            before = len(load.answers)
            load.more(REQUESTS // 2)
            leaving = servers[turn % 2]
            leaving.stop()  # SIGTERM under load
            servers[turn % 2] = start(tiny_repository, port=port_of(leaving))
            load.more(REQUESTS // 2)
            # Clients find its successor without help.
            until(lambda: answered(servers[turn % 2]) > 0, "the new server answers")  # noqa: B023
            assert load.failures() == []
            assert len(load.answers) - before >= REQUESTS
    assert load.failures() == []
    assert {answer.stage for answer in load.answers} == {"big"}


@pytest.mark.slow
def test_every_refusal_of_a_stopping_server_is_one_that_the_client_retries(servers):
    # Without retries, to see every error between SIGTERM and the end.
    with Client(servers[0].grpc_url, retry_for=0) as client, Load(client) as load:
        load.more(100)
        servers[0].stop()
    failures = [answer for answer in load.answers if isinstance(answer, ClientError)]
    assert failures
    for failure in failures:
        stopping = isinstance(failure, ServerFailure) and str(failure).startswith("the server is stopping (")
        assert stopping or isinstance(failure, ServerUnreachable), repr(failure)


@pytest.mark.slow
def test_other_clients_lose_nothing_if_new_connections_go_elsewhere_first(tiny_repository):
    # As with the chart: a leaving pod gets no new connections, waits until the existing ones have reached their age,
    # and only then gets SIGTERM. The clients are tritonclient's, which retry nothing.
    servers = start_two(tiny_repository, SHORT_CONNECTIONS)
    service = Service(*(server.grpc_url for server in servers))
    over, outcomes = threading.Event(), []
    clients = [threading.Thread(target=_ask_until, args=(over, service.url, outcomes)) for _ in range(CLIENTS)]
    try:
        for client in clients:
            client.start()
        until(lambda: len(outcomes) >= REQUESTS // 2, "half of the requests", 120)
        leaving = servers[0].grpc_url
        assert service.connections(leaving) > 0
        service.ready.remove(leaving)
        until(lambda: service.connections(leaving) == 0, "all connections have moved")
        servers[0].stop()
        end = len(outcomes) + REQUESTS // 2
        until(lambda: len(outcomes) >= end, "the other half", 120)
    finally:
        over.set()
        for client in clients:
            client.join(60)
        service.close()
        stop_all(servers)
    assert len(outcomes) >= REQUESTS
    assert set(outcomes) == {"answered"}


def _ask_until(over: threading.Event, url: str, outcomes: list[str]) -> None:
    tensor = tritonclient.grpc.InferInput("image", [1, 32, 32, 3], "UINT8")
    tensor.set_data_from_numpy(IMAGES[0][np.newaxis])
    # A separate connection for each client, as with separate processes.
    own = [("grpc.use_local_subchannel_pool", 1)]
    with tritonclient.grpc.InferenceServerClient(url, channel_args=own) as triton:
        while not over.is_set():
            try:
                triton.infer("little_big", [tensor], parameters={"threshold": 1.0}, client_timeout=30)
                outcomes.append("answered")
            except InferenceServerException as failure:
                outcomes.append(str(failure))
                time.sleep(0.01)
