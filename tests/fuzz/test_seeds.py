"""The short form of `make fuzz`: hostile pictures and the same few mutations every time, within the promised limits."""

import sys

import pytest

from tests.fuzz.in_process import decode_in_child

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is limited by RLIMIT_AS")


def test_mutated_pictures_stay_within_time_and_memory(tmp_path):
    result = decode_in_child(7, count=400, with_hostile=False, keep=str(tmp_path))
    assert result.faults == []
    assert result.answered > 20


@pytest.mark.slow
def test_mutated_and_hostile_pictures_stay_within_time_and_memory(tmp_path):
    result = decode_in_child(7, count=1_500, keep=str(tmp_path))
    assert result.faults == []
    assert result.answered > 100
