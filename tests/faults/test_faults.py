"""The short form of `make faults`: one process killed while another is frozen, and a sample of malformed requests."""

from __future__ import annotations

import pytest

from tests.faults.attack import attack_grpc, attack_http
from tests.faults.campaign import run
from tests.faults.injecting import both, freeze, kill
from tests.faults.serving import Service, write_repository
from tests.faults.traffic import questions

# `make faults` allows 10 s; the machine of a test may be busy.
WITHIN = 40.0


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    with Service(write_repository(folder), folder) as running:
        yield running


@pytest.fixture(scope="module")
def asked(service):
    return questions(service.grpc_url)


@pytest.mark.parametrize("attack", [attack_grpc, attack_http])
def test_malformed_requests_get_an_error_each_and_harm_nobody_else(service, asked, attack):
    result = attack(service, asked, count=30, seed=1)
    assert result.found == []


def test_a_killed_and_a_frozen_process_cost_no_image_and_are_replaced(service, asked):
    fault = both(kill("preprocess"), freeze("big", 2.0))
    row = run(service, asked, fault, timeout=120, retry_for=80)
    assert row.faults(WITHIN) == []
