"""The slice is read back from the kernel; every test asks for it in a thread of its own, which ends with it."""

import os
import platform
from concurrent.futures import ThreadPoolExecutor

import littlebig_scheduling
import pytest
from littlebig_scheduling import set_slice

from tests.scheduling import attributes, needs_slices, needs_the_call

pytestmark = needs_the_call


def in_a_thread(work):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


@needs_slices
@pytest.mark.parametrize(("milliseconds", "taken"), [(20, 20e6), (0.25, 0.25e6), (1000, 100e6)])
def test_the_kernel_takes_the_slice(milliseconds, taken):
    assert in_a_thread(lambda: (set_slice(milliseconds), attributes())[1]).runtime == taken


def test_niceness_and_policy_stay():
    def work():
        os.setpriority(os.PRIO_PROCESS, 0, 7)  # of this thread only, on Linux
        set_slice(20)
        return attributes()

    found = in_a_thread(work)
    assert (found.nice, found.policy) == (7, os.SCHED_OTHER)


def test_a_processor_whose_call_is_not_known(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(OSError, match="sched_setattr on riscv64"):
        set_slice(20)


def test_a_refusal_says_why(monkeypatch):
    monkeypatch.setattr(littlebig_scheduling, "_SCHED_SETATTR", {platform.machine(): -1})
    with pytest.raises(OSError, match="Function not implemented"):
        set_slice(20)
