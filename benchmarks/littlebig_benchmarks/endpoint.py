"""How a server is reached: plainly, where the benchmark has started it, or with TLS and metadata, where it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import tritonclient.grpc
import tritonclient.grpc.aio

from littlebig_benchmarks.errors import ScenarioError


class Endpoint(Protocol):
    """A server's gRPC endpoint. `littlebig_client.Connection` is one, too."""

    @property
    def url(self) -> str:
        """HOST:PORT."""

    @property
    def tls(self) -> Any:
        """None, or an object with `ca`, `certificate`, `key` and `name`: PEM files, and a name, or None."""

    @property
    def metadata(self) -> Sequence[tuple[str, str]]:
        """Of every call."""

    @property
    def compression(self) -> str | None:
        """`gzip`, `deflate` or None."""

    def open(self) -> Any:
        """A tritonclient.grpc.InferenceServerClient."""

    def open_async(self) -> Any:
        """A tritonclient.grpc.aio.InferenceServerClient."""


@dataclass(frozen=True)
class Plain:
    """A server of our own: without TLS and metadata."""

    url: str
    tls: Any = None
    metadata: tuple[tuple[str, str], ...] = ()
    compression: str | None = None

    def open(self) -> Any:
        """See `Endpoint`."""
        return tritonclient.grpc.InferenceServerClient(self.url)

    def open_async(self) -> Any:
        """See `Endpoint`."""
        return tritonclient.grpc.aio.InferenceServerClient(self.url)


def perf_analyzer_arguments(endpoint: Endpoint) -> list[str]:
    """The part of perf_analyzer's command line that says how the server is reached.

    Its help says that gRPC ignores headers (-H); release 2.60 sends them as metadata, if no space follows the colon.

    Raises:
        ScenarioError: if perf_analyzer has no option for it.
    """
    words = ["-u", endpoint.url, "-i", "grpc"]
    words += [word for name, value in endpoint.metadata for word in ("-H", f"{name}:{value}")]
    if endpoint.compression is not None:
        words.append(f"--grpc-compression-algorithm={endpoint.compression}")
    if endpoint.tls is None:
        return words
    if endpoint.tls.name:
        raise ScenarioError(
            "perf_analyzer checks a certificate against the url alone: give a --url that is in the certificate instead "
            "of --tls-name, or measure --only front_door"
        )
    words.append("--ssl-grpc-use-ssl")
    for option, file in (
        ("root-certifications", endpoint.tls.ca),
        ("certificate-chain", endpoint.tls.certificate),
        ("private-key", endpoint.tls.key),
    ):
        if file is not None:
            words.append(f"--ssl-grpc-{option}-file={file}")
    return words
