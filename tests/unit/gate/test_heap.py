"""Memory that one batch leaves for the next."""

import ctypes
import subprocess
import sys
from pathlib import Path

import littlebig_heap
import pytest

# Prints the page faults of ten batches of ten images, after the heap has had that much memory once.
_BATCHES = """
import resource, sys, threading
import numpy as np
from littlebig_heap import keep_freed_memory

def batch():
    return [np.full((260, 260, 3), 1, np.uint8) for _ in range(10)]

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "keep":
    keep_freed_memory(10, 260 * 260 * 3)
else:
    batch()
before = faults()
for _ in range(10):
    if sys.argv[2] == "threads":
        thread = threading.Thread(target=batch)
        thread.start()
        thread.join()
    else:
        batch()
print(faults() - before)
"""


def faults(how, who):
    command = [sys.executable, "-c", _BATCHES, how, who]
    where = {"PYTHONPATH": str(Path(littlebig_heap.__file__).parent)}
    return int(subprocess.run(command, env=where, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="this C library has no mallopt")
@pytest.mark.parametrize("who", ["one thread", "threads"])
def test_batches_reuse_the_memory_of_the_heap(who):
    assert faults("keep", who) < 100
    assert faults("as it is", who) > 500  # otherwise glibc does so by itself, and the module is not needed
