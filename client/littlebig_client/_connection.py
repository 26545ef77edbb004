"""How a server is reached: target, TLS, metadata of every call and compression, from arguments or environment."""

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union

import grpc
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio

from littlebig_client._errors import InvalidRequest
from littlebig_client._target import DEFAULT_URL, check_url, first_host, is_address, is_loopback, proxy_variable

FilePath = Union[str, "os.PathLike[str]"]

COMPRESSIONS = ("gzip", "deflate")

_CHANNEL = (
    # tritonclient's own default: gRPC's 4 MiB would refuse a large photograph.
    ("grpc.max_send_message_length", triton.MAX_GRPC_MESSAGE_SIZE),
    ("grpc.max_receive_message_length", triton.MAX_GRPC_MESSAGE_SIZE),
    # By default gRPC waits up to two minutes before it reconnects; Triton restarts faster.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A name may stand for several servers (a headless Service): spread requests over all of them, drop those that
    # disappear, and resolve the name again. By default gRPC uses the first address and resolves every 30 s at most.
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
    ("grpc.dns_min_time_between_resolutions_ms", 5000),
)

_KEY = re.compile(r"[0-9a-z_.-]+")


@dataclass(frozen=True)
class Tls:
    """TLS of a connection; every file is PEM.

    Attributes:
        ca: the authorities that may have signed the server's certificate; None for those that gRPC brings.
        certificate: the client's own certificate, for servers that ask for one.
        key: its private key.
        name: the name in the server's certificate, where it is not the url's host.
    """

    ca: FilePath | None = None
    certificate: FilePath | None = None
    key: FilePath | None = None
    name: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files.

        Raises:
            InvalidRequest: names the file that cannot be read or is not what it should be.
        """
        if (self.certificate is None) != (self.key is None):
            raise InvalidRequest("a client certificate needs its private key, and the key its certificate: give both")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authorities = None if self.ca is None else _read("the authority", self.ca)
        if authorities is not None:
            try:
                context.load_verify_locations(cadata=authorities.decode("ascii"))
            except (ssl.SSLError, ValueError) as reason:
                raise InvalidRequest(f"the authority '{self.ca}' is not a PEM file of certificates") from reason
        if self.certificate is None or self.key is None:
            return grpc.ssl_channel_credentials(authorities)
        certificate, key = _read("the certificate", self.certificate), _read("the key", self.key)
        try:
            context.load_cert_chain(self.certificate, self.key, password="")
        except (ssl.SSLError, ValueError) as reason:
            raise InvalidRequest(
                f"'{self.certificate}' and '{self.key}' are not a certificate and its private key, unencrypted, in PEM"
            ) from reason
        return grpc.ssl_channel_credentials(authorities, key, certificate)


@dataclass(frozen=True)
class Connection:
    """A checked way to a server. Make it with `connection`.

    Attributes:
        url: a gRPC target.
        tls: None for plain text.
        metadata: of every call; names in lower case.
        compression: "gzip", "deflate" or None, of everything that is sent.
    """

    url: str
    tls: Tls | None
    metadata: tuple[tuple[str, str], ...]
    compression: str | None

    @property
    def proxy(self) -> str | None:
        """The environment variable with the proxy that gRPC goes through, None for a direct connection."""
        return proxy_variable(self.url)

    @property
    def host(self) -> str:
        """The first host of the target."""
        return first_host(self.url)

    @property
    def is_one_server_here(self) -> bool:
        """Whether the target is a single server on this machine."""
        return is_loopback(self.url) and "," not in self.url

    @property
    def has_one_address(self) -> bool:
        """Whether the target is a single address, not a name that may stand for several."""
        return is_address(self.host)

    def open(self) -> Any:
        """Return a tritonclient.grpc.InferenceServerClient; it connects with its first call."""
        return self._with_metadata(triton.InferenceServerClient(self.url, **self._channel()))

    def open_async(self) -> Any:
        """Return a tritonclient.grpc.aio.InferenceServerClient for the running event loop."""
        return self._with_metadata(triton_aio.InferenceServerClient(self.url, **self._channel()))

    def _channel(self) -> dict[str, Any]:
        options: list[tuple[str, Any]] = list(_CHANNEL)
        if is_loopback(self.url):
            options.append(("grpc.enable_http_proxy", 0))  # a proxy cannot reach this machine's own addresses
        if self.compression is not None:
            algorithm = grpc.Compression.Gzip if self.compression == "gzip" else grpc.Compression.Deflate
            options.append(("grpc.default_compression_algorithm", int(algorithm)))
        if self.tls is None:
            return {"channel_args": options}
        if self.tls.name:
            options.append(("grpc.ssl_target_name_override", self.tls.name))
        return {"channel_args": options, "creds": self.tls.credentials()}

    def _with_metadata(self, client: Any) -> Any:
        if self.metadata:
            client.register_plugin(self._add_metadata)
        return client

    def _add_metadata(self, request: Any) -> None:
        request.headers = {**dict(self.metadata), **(request.headers or {})}


def connection(
    url: str | None = None,
    *,
    tls: bool | Tls | None = None,
    token: str | None = None,
    metadata: Mapping[str, str] | None = None,
    compression: str | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Connection:
    """Check the settings of a connection, each None replaced by its `LITTLEBIG_*` variable.

    Args:
        url: a gRPC target; LITTLEBIG_URL, else localhost:8001.
        tls: True, False or a `Tls`; LITTLEBIG_TLS (1 or 0), or any of LITTLEBIG_TLS_CA, _CERT, _KEY, _NAME.
        token: sent as `authorization: Bearer TOKEN`; LITTLEBIG_TOKEN.
        metadata: names and values that every call carries; LITTLEBIG_METADATA, as name=value,name=value.
        compression: "gzip" or "deflate"; LITTLEBIG_COMPRESSION.
        environment: the variables.

    Raises:
        InvalidRequest: names the setting and its value.
    """
    given = {name: value for name, value in environment.items() if value}
    url = check_url(url if url is not None else given.get("LITTLEBIG_URL", DEFAULT_URL))
    chosen = _tls(tls, given)
    if metadata is None:
        metadata = _pairs(given.get("LITTLEBIG_METADATA", ""))
    pairs = check_metadata(metadata)
    token = token if token is not None else given.get("LITTLEBIG_TOKEN")
    if token is not None:
        if chosen is None and not is_loopback(url):
            raise InvalidRequest(
                f"a token would travel to {url} in plain text: turn on TLS, or, where something else encrypts the "
                "connection, pass it as metadata 'authorization'"
            )
        pairs += check_metadata({"authorization": f"Bearer {token}"})
    compression = compression if compression is not None else given.get("LITTLEBIG_COMPRESSION")
    if compression is not None and compression not in COMPRESSIONS:
        raise InvalidRequest(f"compression must be one of {', '.join(COMPRESSIONS)}, not {compression!r}")
    if chosen is not None:
        chosen.credentials()  # a wrong file is reported now, not with the first request
    return Connection(url, chosen, pairs, compression)


def check_metadata(metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Check gRPC metadata: names of lower-case letters, digits, `_`, `-` and `.`; values of printable ASCII.

    Raises:
        InvalidRequest: names the name; a value may be a secret, so it is not shown.
    """
    for name, value in metadata.items():
        # gRPC keeps names in -bin for binary values, and grpc- for itself.
        if not isinstance(name, str) or not _KEY.fullmatch(name) or name.endswith("-bin") or name.startswith("grpc-"):
            raise InvalidRequest(f"metadata {name!r} is not a name of lower-case letters, digits, '_', '-' and '.'")
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise InvalidRequest(f"the value of metadata '{name}' is not printable ASCII text")
    return tuple(metadata.items())


def _tls(tls: bool | Tls | None, given: Mapping[str, str]) -> Tls | None:
    if isinstance(tls, Tls):
        return tls
    if tls is None:
        switch = given.get("LITTLEBIG_TLS")
        if switch not in (None, "0", "1"):
            raise InvalidRequest(f"LITTLEBIG_TLS must be 1 or 0, not {switch!r}")
        tls = any(name.startswith("LITTLEBIG_TLS_") for name in given) if switch is None else switch == "1"
    files = (given.get(f"LITTLEBIG_TLS_{name}") for name in ("CA", "CERT", "KEY", "NAME"))
    return Tls(*files) if tls else None


def _pairs(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    for name, equals, _ in pairs:
        if not equals:
            raise InvalidRequest(f"LITTLEBIG_METADATA must be name=value,name=value: {name!r} has no value")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _read(what: str, path: FilePath) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as reason:
        raise InvalidRequest(f"{what} '{path}' cannot be read: {getattr(reason, 'strerror', reason)}") from None
