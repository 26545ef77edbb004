"""gRPC targets: whether one is well-formed, where it points to, and the proxy that gRPC would use for it."""

import ipaddress
import os
from collections.abc import Mapping

from littlebig_client._errors import InvalidRequest

DEFAULT_URL = "localhost:8001"

# Targets whose rest has no port, and that no proxy serves.
_LOCAL_SCHEMES = ("unix", "unix-abstract", "vsock")
_LISTS = ("ipv4", "ipv6")
# gRPC reads these variables, in this order, in lower case only (core/handshaker/http_connect/http_proxy_mapper.cc).
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
_EXCEPTIONS = ("no_grpc_proxy", "no_proxy")


def check_url(url: str) -> str:
    """Check a gRPC target: host:port, dns:///host:port, ipv4:host:port,host:port, ipv6:[host]:port or unix:path.

    gRPC itself reports a malformed target as a failed name look-up, and cuts a port above 65535 to 16 bits.

    Raises:
        InvalidRequest: names the url.
    """
    if not isinstance(url, str) or not url.isprintable() or " " in url or not _is_target(url):
        raise InvalidRequest(f"url must be host:port of Triton's gRPC endpoint, such as {DEFAULT_URL}, not {url!r}")
    return url


def is_loopback(url: str) -> bool:
    """Whether every host of a checked target is this machine."""
    if url.partition(":")[0] in _LOCAL_SCHEMES:
        return True
    return all(_is_this_machine(host) for host, _ in _endpoints(url))


def proxy_variable(url: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The environment variable that names the proxy for a checked target, None if gRPC connects directly."""
    if is_loopback(url):
        return None
    variable = next((name for name in _PROXIES if name in environment), None)
    if variable is None or not environment[variable]:
        return None
    exceptions = next((environment[name] for name in _EXCEPTIONS if name in environment), "")
    hosts = [host for host, _ in _endpoints(url)]
    listed = [each.strip() for each in exceptions.split(",") if each.strip()]
    return None if all(any(_is_exempt(host, each) for each in listed) for host in hosts) else variable


def first_host(url: str) -> str:
    """The host of a checked target, of several the first."""
    return _endpoints(url)[0][0] if url.partition(":")[0] not in _LOCAL_SCHEMES else "localhost"


def is_address(host: str) -> bool:
    """Whether a host is an IP address, not a name."""
    return _address(host) is not None


def _is_target(url: str) -> bool:
    scheme, _, rest = url.partition(":")
    if scheme in _LOCAL_SCHEMES:
        return bool(rest)
    return all(_is_endpoint(host, port) for host, port in _endpoints(url))


def _endpoints(url: str) -> list[tuple[str, str]]:
    """Host and port of each address of a target, unchecked."""
    scheme, _, rest = url.partition(":")
    if scheme in _LISTS:
        addresses = rest.split(",")
    elif scheme == "dns":
        addresses = [rest.rpartition("/")[2]]  # dns:host:port, dns:///host:port or dns://server/host:port
    else:
        addresses = [url]
    return [(host, port) for host, _, port in (address.rpartition(":") for address in addresses)]


def _is_endpoint(host: str, port: str) -> bool:
    bracketed = host.startswith("[") and host.endswith("]")
    if not host or "/" in host or "@" in host or (":" in host and not bracketed):
        return False
    return port.isascii() and port.isdecimal() and 1 <= int(port) <= 65535


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def _is_exempt(host: str, exception: str) -> bool:
    """Whether an entry of no_proxy covers a host: as gRPC reads it, the end of its name or a range of addresses."""
    if host.strip("[]").lower().endswith(exception.lower()):
        return True
    address = _address(host)
    try:
        return address is not None and address in ipaddress.ip_network(exception, strict=False)
    except ValueError:
        return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
