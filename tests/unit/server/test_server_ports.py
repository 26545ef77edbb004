"""Free ports are free and distinct; given ports are checked before anything starts."""

import socket
from collections.abc import Iterator

import pytest

from littlebig_server import PortError
from littlebig_server.ports import Addresses, Ports, choose_ports, resolve_host

LOOPBACK = "127.0.0.1"
ADDRESSES = Addresses(LOOPBACK, LOOPBACK, LOOPBACK)


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as taken:
        yield taken.getsockname()[1]


def test_free_ports_are_distinct_and_can_be_bound() -> None:
    chosen = choose_ports(ADDRESSES, Ports(0, 0, 0))

    assert len({chosen.http, chosen.grpc, chosen.metrics}) == 3
    for port in (chosen.http, chosen.grpc, chosen.metrics):
        with socket.create_server((LOOPBACK, port)):
            pass


def test_given_ports_are_kept() -> None:
    free = choose_ports(ADDRESSES, Ports(0, 0, 0))
    chosen = choose_ports(ADDRESSES, Ports(free.http, 0, free.metrics))

    assert (chosen.http, chosen.metrics) == (free.http, free.metrics)
    assert chosen.grpc not in {0, free.http, free.metrics}


@pytest.mark.parametrize(("name", "label"), [("http", "HTTP"), ("grpc", "gRPC"), ("metrics", "metrics")])
def test_a_taken_port_is_refused(listening: int, name: str, label: str) -> None:
    with pytest.raises(PortError) as failure:
        choose_ports(ADDRESSES, Ports(**{"http": 0, "grpc": 0, "metrics": 0, name: listening}))
    assert str(failure.value) == (
        f"port {listening} is taken ({label}); choose another with --{name}-port or 0 for a free one"
    )


def test_a_port_whose_listener_has_just_closed_is_free() -> None:
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection((LOOPBACK, port)), server.accept()[0]:
            pass  # the connection now lingers on the server's side in TIME_WAIT or CLOSE_WAIT

    assert choose_ports(ADDRESSES, Ports(port, 0, 0)).http == port


def test_one_port_for_two_endpoints_is_refused() -> None:
    with pytest.raises(PortError) as failure:
        choose_ports(ADDRESSES, Ports(8000, 8000, 8002))
    assert str(failure.value) == "port 8000 is given for both HTTP and gRPC: choose another with --grpc-port"


OPTIONS = [("http", "--http-host"), ("grpc", "--host"), ("metrics", "--metrics-host")]


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_an_address_of_another_machine_is_refused(name: str, option: str) -> None:
    with pytest.raises(PortError) as failure:
        choose_ports(Addresses(**{**vars(ADDRESSES), name: "192.0.2.1"}), Ports(0, 0, 0))
    assert str(failure.value) == (
        f"host '192.0.2.1' is no address of this machine: choose another with {option}, or 0.0.0.0 for all"
    )


def test_a_host_name_is_resolved_to_an_address() -> None:
    assert resolve_host("localhost") == LOOPBACK


@pytest.mark.parametrize("host", ["::1", "no.such.host.invalid"])
def test_a_host_without_an_ipv4_address_is_refused(host: str) -> None:
    with pytest.raises(PortError) as failure:
        resolve_host(host, "metrics")
    assert str(failure.value) == (
        f"host '{host}' has no IPv4 address: choose one of this machine's with --metrics-host, or 0.0.0.0 for all"
    )
