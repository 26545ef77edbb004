"""What `Client` and `AsyncClient` have in common: their settings."""

from collections.abc import Mapping
from typing import Any, TypeVar

from littlebig_client._calls import Calls
from littlebig_client._connection import Tls, connection
from littlebig_client._errors import InvalidRequest
from littlebig_client._options import check_seconds
from littlebig_client._session import Session
from littlebig_client._target import DEFAULT_URL

C = TypeVar("C", bound="ConfiguredClient")


class ConfiguredClient:
    """The settings of a client, checked; nothing is sent yet."""

    def __init__(
        self,
        url: str | None = None,
        timeout: float = 30.0,
        *,
        connect_timeout: float = 5.0,
        retry_for: float = 20.0,
        tls: bool | Tls | None = None,
        token: str | None = None,
        metadata: Mapping[str, str] | None = None,
        compression: str | None = None,
        shared_memory: bool = False,
    ) -> None:
        """Check the settings. The first request opens the connection; it is opened again after the server was lost.

        A setting left at None is read from the environment: LITTLEBIG_URL, LITTLEBIG_TLS (1 or 0), LITTLEBIG_TLS_CA,
        LITTLEBIG_TLS_CERT, LITTLEBIG_TLS_KEY, LITTLEBIG_TLS_NAME, LITTLEBIG_TOKEN, LITTLEBIG_METADATA
        (name=value,name=value) and LITTLEBIG_COMPRESSION.

        Args:
            url: host:port of Triton's gRPC endpoint, or any gRPC target, such as dns:///host:port or
                ipv4:host:port,host:port. Requests are spread over all servers of the target. By default
                localhost:8001.
            timeout: seconds until a request fails with ServerTimeout, including its retries.
            connect_timeout: seconds until a server that has not responded before is ServerUnreachable;
                at most `timeout`.
            retry_for: seconds that requests wait for a server that stops, restarts or is lost after it was heard
                from; at most `timeout`; 0 for no retries. If it does not return in this time, later requests make one
                attempt each. Classifying has no side effects, so a retry is safe.
            tls: True for TLS with the authorities that gRPC brings, a `Tls` for others or for a client certificate,
                False for plain text.
            token: a bearer token, sent with every call; needs TLS, except to this machine.
            metadata: gRPC metadata that every call carries, by lower-case name.
            compression: "gzip" or "deflate": compress what is sent. Encoded pictures are compressed already.
            shared_memory: pass images through system shared memory. The server must run on this machine and allow
                it (`littlebig serve --client-shared-memory`).

        Raises:
            InvalidRequest: a setting is invalid: it names the setting, its value and the allowed values.
        """
        self._settings: dict[str, Any] = {
            "url": url,
            "timeout": timeout,
            "connect_timeout": connect_timeout,
            "retry_for": retry_for,
            "tls": tls,
            "token": token,
            "metadata": None if metadata is None else dict(metadata),
            "compression": compression,
            "shared_memory": shared_memory,
        }
        way = connection(url, tls=tls, token=token, metadata=metadata, compression=compression)
        if shared_memory and not way.is_one_server_here:
            raise InvalidRequest(f"shared memory needs a server on this machine, such as {DEFAULT_URL}, not {way.url}")
        self._session = Session(
            Calls(
                way,
                check_seconds("timeout", timeout),
                check_seconds("connect_timeout", connect_timeout),
                check_seconds("retry_for", retry_for, allow_zero=True),
            ),
            shared_memory=shared_memory,
        )
        self._prepare()

    def _prepare(self) -> None:
        """Set up what the kind of client needs beside its settings."""

    def __reduce__(self: C) -> tuple[Any, ...]:
        """Pickle the settings as they were given: the copy connects by itself, and reads its own environment."""
        return _restored, (type(self), self._settings)


def _restored(kind: type[C], settings: dict[str, Any]) -> C:
    return kind(**settings)
