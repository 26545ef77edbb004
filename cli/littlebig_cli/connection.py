"""The options of every command that asks a running server: where it is and how to reach it."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import click

from littlebig_cli.failures import Failure
from littlebig_client import COMPRESSIONS, ClientError, Connection, Tls
from littlebig_client import connection as checked_connection

URL_HELP = "Triton's gRPC endpoint, host:port.  [default: localhost:8001; env: LITTLEBIG_URL]"


def _metadata(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str] | None:
    pairs = [value.partition("=") for value in values]
    if any(not (name and equals) for name, equals, _ in pairs):
        raise click.BadParameter("give NAME=VALUE")
    return {name: value for name, _, value in pairs} or None


def _file(name: str, what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    variable = f"LITTLEBIG_{name.removeprefix('--').replace('-', '_').upper()}"
    return click.option(name, type=click.Path(), metavar="FILE", help=f"PEM file: {what}.  [env: {variable}]")


def given_connection(connection: Mapping[str, Any]) -> Connection | None:
    """The connection of a command that asks a running server only with --url; None without --url.

    Args:
        connection: as `add_connection_options` passes it.

    Raises:
        Failure: if a setting is invalid.
        click.UsageError: if another of its options is given without --url.
    """
    if connection["url"] is None:
        other = next((name for name, value in connection.items() if value is not None), None)
        if other is not None:
            raise click.UsageError(f"--{other} is for a running server: give its --url")
        return None
    try:
        return checked_connection(**connection)
    except ClientError as reason:
        raise Failure(str(reason)) from reason


def add_connection_options(url_help: str = URL_HELP) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command with --url, TLS, token, metadata and compression.

    The command gets them as one argument `connection`, the keyword arguments of `littlebig_client.Client`, which also
    reads the LITTLEBIG_* variables of those that are not given.

    Args:
        url_help: the help of --url.
    """
    options = (
        click.option("--url", metavar="HOST:PORT", help=url_help),
        click.option(
            "--tls/--no-tls",
            default=None,
            help="Encrypt the connection; a --tls-* option implies it.  [env: LITTLEBIG_TLS]",
        ),
        _file("--tls-ca", "the authority that signed the server's certificate"),
        _file("--tls-cert", "a certificate of the client's own"),
        _file("--tls-key", "its private key"),
        click.option(
            "--tls-name",
            metavar="NAME",
            help="Name in the server's certificate.  [default: the url's host; env: LITTLEBIG_TLS_NAME]",
        ),
        click.option(
            "--token",
            metavar="TOKEN",
            help="Bearer token of every call. Other users of this machine can "
            "read command lines: prefer the variable.  [env: LITTLEBIG_TOKEN]",
        ),
        click.option(
            "--metadata",
            multiple=True,
            metavar="NAME=VALUE",
            callback=_metadata,
            help="gRPC metadata of every call; may be repeated.  [env: LITTLEBIG_METADATA, NAME=VALUE,NAME=VALUE]",
        ),
        click.option(
            "--compression",
            type=click.Choice(COMPRESSIONS),
            help="Compress what is sent.  [env: LITTLEBIG_COMPRESSION]",
        ),
    )

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(
            *args: Any,
            url: str | None,
            token: str | None,
            metadata: dict[str, str] | None,
            compression: str | None,
            **others: Any,
        ) -> Any:
            tls, *files = (others.pop(f"tls{suffix}") for suffix in ("", "_ca", "_cert", "_key", "_name"))
            if tls is not False and any(files):
                tls = Tls(*files)
            connection = {"url": url, "tls": tls, "token": token, "metadata": metadata, "compression": compression}
            return command(*args, connection=connection, **others)

        for option in reversed(options):
            run = option(run)
        return run

    return decorate
