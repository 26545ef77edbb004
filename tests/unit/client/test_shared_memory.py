"""The regions of a client: used again, and bounded while a server answers nothing."""

from pathlib import Path

import pytest

from littlebig_client import InvalidRequest
from littlebig_client._shared_memory import _MOST_ABANDONED, Regions


def registered(regions: Regions, size: int = 100):
    region = regions.take(size)
    region.remove_name()
    region.is_registered = True
    return region


def test_region_is_used_again_for_what_fits():
    regions = Regions()
    region = registered(regions, 100_000)
    regions.put(region, is_read=True)
    assert registered(regions, region.size + 1) is not region
    assert regions.take(region.size) is region
    assert registered(regions, 10) is not region  # it is in use


def test_data_is_laid_out_part_after_part():
    region = registered(Regions())
    assert region.write([b"abc", b"de"]) == 5
    assert region._memory[:5] == b"abcde"


def test_abandoned_region_rests_until_many_later_ones_were_abandoned():
    regions = Regions()
    first = registered(regions)
    regions.put(first, is_read=False)
    for _ in range(_MOST_ABANDONED - 1):
        another = registered(regions)
        assert another is not first
        regions.put(another, is_read=False)
    regions.put(registered(regions), is_read=False)
    assert regions.take(100) is first


def test_region_that_the_server_has_not_mapped_is_dropped_with_its_name():
    regions = Regions()
    region = regions.take(10)
    assert Path(region._path).exists()
    regions.put(region, is_read=True)
    assert not Path(region._path).exists()
    assert registered(regions) is not region


def test_too_little_shared_memory_is_said_in_one_line():
    with pytest.raises(InvalidRequest, match=r"shared memory of \d+ bytes in /dev/shm: "):
        Regions().take(1 << 50)
