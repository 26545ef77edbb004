"""Closes Triton's administration to clients: model control, shared memory, traces and log settings.

Triton restricts a group of calls to requests with a header. The header's value is a random secret of each start, which
only the process that started the server knows. Reading statistics, metadata and configurations stays open: Triton has
no calls that write them.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from littlebig_server.errors import SettingsError

_SHARED_MEMORY = "shared-memory"
GROUPS = ("model-repository", _SHARED_MEMORY, "trace", "logging")
_OPTIONS = ("--grpc-restricted-protocol", "--http-restricted-api")
_HEADER = "littlebig-administration"
# Triton's gRPC endpoint expects this before the header's name, its HTTP endpoint does not.
_GRPC_PREFIX = "triton-grpc-protocol-"


@dataclass(frozen=True)
class Administration:
    """What clients may not call, and the secret that permits it.

    Attributes:
        restricted: Triton's names of the groups of calls that need the secret.
        secret: a header's value.
    """

    restricted: tuple[str, ...]
    secret: str = field(default_factory=secrets.token_urlsafe, repr=False)

    @property
    def arguments(self) -> list[str]:
        """Arguments of tritonserver that restrict the groups."""
        groups = ",".join(self.restricted)
        return [f"{option}={groups}:{_HEADER}={self.secret}" for option in _OPTIONS] if groups else []

    @property
    def http_headers(self) -> Mapping[str, str]:
        """Headers of an administrative call over HTTP."""
        return {_HEADER: self.secret}

    @property
    def grpc_headers(self) -> Mapping[str, str]:
        """Headers of an administrative call with tritonclient.grpc."""
        return {f"{_GRPC_PREFIX}{_HEADER}": self.secret}


def restricted_groups(*, open_administration: bool, client_shared_memory: bool) -> tuple[str, ...]:
    """Triton's names of the groups of calls that are closed to clients.

    Args:
        open_administration: close none.
        client_shared_memory: leave the registration of shared memory open.
    """
    if open_administration:
        return ()
    return tuple(group for group in GROUPS if not (client_shared_memory and group == _SHARED_MEMORY))


def check_restrictions(arguments: Sequence[str], restricted: Sequence[str]) -> None:
    """Check that further arguments of tritonserver do not restrict a group a second time, which Triton refuses.

    Args:
        arguments: given by the user.
        restricted: the groups that are closed already.

    Raises:
        SettingsError: names the argument and the group.
    """
    for option, groups in _restrictions(arguments):
        for group in groups:
            if group in restricted:
                raise SettingsError(
                    f"{option} is not passed on to tritonserver for '{group}': littlebig serve restricts it already; "
                    "leave it out, or add --open-admin to set all restrictions yourself"
                )


def _restrictions(arguments: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """(option, groups) of each restriction, written --OPTION=GROUP,GROUP:KEY=VALUE or as two words."""
    for position, argument in enumerate(arguments):
        option, has_value, value = argument.partition("=")
        if option in _OPTIONS:
            value = value if has_value else next(iter(arguments[position + 1 :]), "")
            yield option, value.partition(":")[0].split(",")
