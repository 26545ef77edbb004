"""Chooses where the three endpoints listen: checks given ports, finds free ones by binding them.

A free port may be taken before tritonserver binds it; the caller then chooses again.
"""

import errno
import socket
from dataclasses import dataclass

from littlebig_server.errors import PortError

NAMES = {"http": "HTTP", "grpc": "gRPC", "metrics": "metrics"}
_HOST_OPTIONS = {"http": "--http-host", "grpc": "--host", "metrics": "--metrics-host"}


@dataclass(frozen=True)
class Ports:
    """One port for each endpoint.

    Attributes:
        http: KServe v2 over HTTP.
        grpc: KServe v2 over gRPC.
        metrics: Prometheus metrics over HTTP.
    """

    http: int
    grpc: int
    metrics: int


@dataclass(frozen=True)
class Addresses:
    """The IPv4 address that each endpoint listens on, 0.0.0.0 for all of this machine.

    Attributes:
        http: KServe v2 over HTTP.
        grpc: KServe v2 over gRPC.
        metrics: Prometheus metrics over HTTP.
    """

    http: str
    grpc: str
    metrics: str


def reachable(address: str) -> str:
    """An address at which this machine reaches an endpoint that listens on `address`."""
    return "127.0.0.1" if address == "0.0.0.0" else address  # noqa: S104  (a comparison)


def resolve_host(host: str, name: str = "grpc") -> str:
    """The IPv4 address of a host name: Triton's HTTP endpoint takes no names, and its endpoints treat IPv6 differently.

    Args:
        host: an IPv4 address, or a name that has one.
        name: of the endpoint: `http`, `grpc` or `metrics`.

    Raises:
        PortError: if there is no such address.
    """
    try:
        return str(socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
    except OSError:
        raise PortError(
            f"host '{host}' has no IPv4 address: choose one of this machine's with {_HOST_OPTIONS[name]}, or 0.0.0.0 "
            "for all"
        ) from None


def choose_ports(addresses: Addresses, given: Ports) -> Ports:
    """Check the given ports, and find free ones where 0 is given.

    Args:
        addresses: the IPv4 addresses to listen on.
        given: the ports to use, 0 for a free one.

    Returns:
        Three different ports, all free at this moment.

    Raises:
        PortError: if a given port is taken, not permitted, or given twice.
    """
    name_of: dict[int, str] = {}
    for name, label in NAMES.items():
        port = getattr(given, name)
        if port in name_of:
            raise PortError(
                f"port {port} is given for both {NAMES[name_of[port]]} and {label}: choose another with --{name}-port"
            )
        if port:
            name_of[port] = name
    held: list[socket.socket] = []
    try:
        # Given ports first; all sockets stay open until three ports are known, so that none is chosen twice.
        chosen = {name: _bind(getattr(addresses, name), port, name, held) for port, name in name_of.items()}
        chosen |= {name: _bind(getattr(addresses, name), 0, name, held) for name in NAMES if name not in chosen}
    finally:
        for sock in held:
            sock.close()
    return Ports(**chosen)


def port_taken(port: int, name: str) -> PortError:
    """The error for a given port on which another process listens.

    Args:
        port: the port.
        name: `http`, `grpc` or `metrics`.
    """
    return PortError(f"port {port} is taken ({NAMES[name]}); choose another with --{name}-port or 0 for a free one")


def _bind(address: str, port: int, name: str, held: list[socket.socket]) -> int:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.append(sock)
    # As Triton does: connections in TIME_WAIT do not make a port taken.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((address, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise port_taken(port, name) from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise PortError(
                f"host '{address}' is no address of this machine: choose another with {_HOST_OPTIONS[name]}, or "
                "0.0.0.0 for all"
            ) from None
        raise PortError(
            f"port {port} cannot be bound ({NAMES[name]}): {error.strerror}; choose another with --{name}-port"
        ) from None
    return int(sock.getsockname()[1])
