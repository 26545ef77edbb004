"""Memory of one batch that the next one finds again."""

import ctypes
import subprocess
import sys
from pathlib import Path

import littlebig_heap
import pytest

# Page faults of ten batches of ten images, 260 x 260; of the second to the eleventh where nothing is kept.
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
        one = threading.Thread(target=batch)
        one.start()
        one.join()
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
def test_a_batch_finds_memory_that_is_there(who):
    assert faults("keep", who) < 100
    assert faults("as it is", who) > 500  # else glibc does so by itself, and this module can go
