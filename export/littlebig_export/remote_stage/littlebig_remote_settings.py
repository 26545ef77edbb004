"""The parameters of a remote stage's config.pbtxt: `littlebig export` checks them, and the stage when it is loaded."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

# Parameters of every stage, which say what it computes.
_IDENTITY = ("model", "weights_sha256")
_SWITCHES = {"true": True, "false": False}
_SCHEME = re.compile(r"(dns|ipv4|ipv6):(///)?")
_ADDRESS = re.compile(r"(?:\[([^\s\[\]]+)\]|([^\s@/:%\[\]]+)):([0-9]{1,5})")
_HEADER = re.compile(r"[0-9a-z_.-]+")
# gRPC's numbers of its compression algorithms, of which a Triton server undoes each by itself.
_COMPRESSIONS = {"none": 0, "deflate": 1, "gzip": 2}
_LOOPBACK = re.compile(r"((ipv4|ipv6|dns):(///)?)?(localhost|127\.[\d.]+|\[::1\]):")


class BadSetting(ValueError):
    """A parameter's value is wrong: which, and what it may be."""


@dataclass(frozen=True)
class RemoteSettings:
    """How a stage's server is reached.

    Attributes:
        url: a gRPC target: HOST:PORT, whose name may stand for several addresses, or ipv4:HOST:PORT,HOST:PORT.
        required: whether the load fails while the server does not answer.
        timeout_ms: time limit of calls that bring none, in milliseconds.
        tls: whether the connection is encrypted.
        tls_ca: PEM file of the authorities that may have signed the server's certificate; empty for gRPC's own.
        tls_cert: PEM file of the certificate that this side shows; empty for none.
        tls_key: PEM file of its private key.
        tls_name: the name in the server's certificate, where it is not the url's host.
        token_file: file whose content every call carries; read for each call, so it may change.
        header: metadata that carries it; `authorization` carries `Bearer` and the content.
        compression: gRPC's number of the algorithm that compresses the images; 0 for none.
    """

    url: str
    required: bool = False
    timeout_ms: float = 5000.0
    tls: bool = False
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_name: str = ""
    token_file: str = ""
    header: str = "authorization"
    compression: int = 0

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> RemoteSettings:
        """Read the parameters of config.pbtxt.

        Raises:
            BadSetting: naming the parameter.
        """
        values = {name: text for name, text in parameters.items() if name not in _IDENTITY}
        known = tuple(cls.__dataclass_fields__)
        for name in values:
            if name not in known:
                raise BadSetting(f"unknown parameter '{name}'; known are {', '.join(known)}")
        wants_tls = any(name.startswith("tls_") for name in values)
        readers = {
            "timeout_ms": _milliseconds,
            "required": _switch("required"),
            "tls": _switch("tls"),
            "compression": _compression,
        }
        read: dict[str, Any] = {name: readers.get(name, str)(text) for name, text in values.items()}
        settings = cls(**{"url": "", "tls": wants_tls, **read})
        settings._check_consistency()
        return settings

    @property
    def is_loopback(self) -> bool:
        """Whether the stage's server is on this machine."""
        return all(_LOOPBACK.match(part) for part in self.url.split(","))

    def _check_consistency(self) -> None:
        if not _is_target(self.url):
            raise BadSetting(
                f"parameter 'url' = '{self.url}' is not HOST:PORT or [IPV6]:PORT of a gRPC endpoint, or several "
                "addresses as ipv4:ADDRESS:PORT,ADDRESS:PORT"
            )
        if bool(self.tls_cert) != bool(self.tls_key):
            raise BadSetting("parameters 'tls_cert' and 'tls_key' belong together: give both")
        if not self.tls and (self.tls_ca or self.tls_cert or self.tls_name):
            raise BadSetting("parameter 'tls' is false, but a certificate is given: leave one of them out")
        if not _HEADER.fullmatch(self.header) or self.header.endswith("-bin") or self.header.startswith("grpc-"):
            raise BadSetting(f"parameter 'header' = '{self.header}' is not a name of lower-case letters, digits and -")
        if self.token_file and not self.tls and not self.is_loopback:
            raise BadSetting(
                f"parameter 'token_file': its content would travel to {self.url} in plain text: set tls=true"
            )


def stage_alias(stage: str, weights_sha256: str) -> str:
    """The name under which a stage's server offers exactly these weights.

    A server with other weights has no model of this name, so it cannot answer by mistake, whenever it was replaced.

    Args:
        stage: `little` or `big`.
        weights_sha256: of the weights, a hex string.
    """
    return f"{stage}_{weights_sha256[:16]}"


def _is_target(url: str) -> bool:
    """Whether gRPC knows what to do with it: it takes several addresses only with a scheme, and no names there."""
    scheme = _SCHEME.match(url)
    kind = scheme[1] if scheme else "dns"
    addresses = [_ADDRESS.fullmatch(part) for part in url[scheme.end() if scheme else 0 :].split(",")]
    if kind == "dns" and len(addresses) > 1:
        return False
    return all(address and _fits(kind, *address.groups()) for address in addresses)


def _fits(kind: str, in_brackets: str | None, host: str | None, port: str) -> bool:
    if not 1 <= int(port) <= 65535:
        return False
    if in_brackets is None and kind == "dns":
        return True
    try:
        version = ipaddress.ip_address(in_brackets or host or "").version
    except ValueError:
        return False
    return version == (6 if in_brackets else 4) and kind in ("dns", f"ipv{version}")


def _compression(text: str) -> int:
    if text not in _COMPRESSIONS:
        raise BadSetting(f"parameter 'compression' = '{text}' is not one of {', '.join(_COMPRESSIONS)}")
    return _COMPRESSIONS[text]


def _switch(name: str) -> Callable[[str], bool]:
    def read(text: str) -> bool:
        if text not in _SWITCHES:
            raise BadSetting(f"parameter '{name}' = '{text}' is not true or false")
        return _SWITCHES[text]

    return read


def _milliseconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 1.0 <= value <= 86_400_000:
        raise BadSetting(f"parameter 'timeout_ms' = '{text}' is not milliseconds from 1 to a day")
    return value
