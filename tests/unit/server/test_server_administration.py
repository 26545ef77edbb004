"""The administration is closed by a secret that is new at each start and never shown."""

import pytest

from littlebig_server.administration import Administration, restricted_groups

ALL = ("model-repository", "shared-memory", "trace", "logging")


@pytest.mark.parametrize(
    ("open_administration", "client_shared_memory", "restricted"),
    [(False, False, ALL), (False, True, ("model-repository", "trace", "logging")), (True, False, ()), (True, True, ())],
)
def test_each_option_opens_what_it_names(
    open_administration: bool, client_shared_memory: bool, restricted: tuple[str, ...]
) -> None:
    opened = restricted_groups(open_administration=open_administration, client_shared_memory=client_shared_memory)
    assert opened == restricted


def test_both_endpoints_are_closed_with_the_same_secret() -> None:
    administration = Administration(ALL)
    value = f"model-repository,shared-memory,trace,logging:littlebig-administration={administration.secret}"
    assert administration.arguments == [f"--grpc-restricted-protocol={value}", f"--http-restricted-api={value}"]
    assert administration.http_headers == {"littlebig-administration": administration.secret}
    assert administration.grpc_headers == {"triton-grpc-protocol-littlebig-administration": administration.secret}


def test_an_open_administration_has_no_arguments() -> None:
    assert Administration(()).arguments == []


def test_the_secret_is_new_each_time_and_not_in_the_representation() -> None:
    first, second = Administration(ALL), Administration(ALL)
    assert len(first.secret) > 30
    assert first.secret != second.secret
    assert first.secret not in repr(first)
