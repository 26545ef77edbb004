"""What a remote stage's calls carry, and how its connection is encrypted: from files."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import grpc
from littlebig_remote_settings import BadSetting, RemoteSettings


def read_headers(settings: RemoteSettings) -> dict[str, str]:
    """The metadata that a call carries: the token, read now because its file may change.

    Raises:
        BadSetting: the file cannot be read, or is not one line of text.
    """
    if not settings.token_file:
        return {}
    content = _read("token_file", settings.token_file).decode("ascii", "replace").strip()
    if not content or not content.isprintable() or not content.isascii():
        raise BadSetting(f"parameter 'token_file': '{settings.token_file}' is not one line of ASCII text")
    return {settings.header: f"Bearer {content}" if settings.header == "authorization" else content}


def read_credentials(settings: RemoteSettings) -> Any:
    """Read gRPC's credentials of an encrypted connection.

    Raises:
        BadSetting: a file cannot be read, or is not what it should be.
    """
    authorities = _read("tls_ca", settings.tls_ca) if settings.tls_ca else None
    key, certificate = (
        _read(name, path) if path else None
        for name, path in (("tls_key", settings.tls_key), ("tls_cert", settings.tls_cert))
    )
    # gRPC takes any content, and reports it with each call as a connection that fails.
    checker = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if authorities is not None:
            checker.load_verify_locations(settings.tls_ca)
    except (ssl.SSLError, ValueError):
        raise BadSetting(f"parameter 'tls_ca': '{settings.tls_ca}' has no certificate in PEM format") from None
    try:
        if key is not None:
            checker.load_cert_chain(settings.tls_cert, settings.tls_key, password="")
    except (ssl.SSLError, ValueError):
        raise BadSetting(
            f"parameters 'tls_cert' and 'tls_key': '{settings.tls_cert}' and '{settings.tls_key}' are not a "
            "certificate and its private key in PEM format, without a password"
        ) from None
    return grpc.ssl_channel_credentials(authorities, key, certificate)


def _read(parameter: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as reason:
        raise BadSetting(f"parameter '{parameter}': '{path}' cannot be read: {reason.strerror}") from None
