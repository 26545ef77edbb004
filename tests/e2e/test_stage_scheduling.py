"""How the kernel schedules the stages of the cpu target while they are served."""

import shutil

import numpy as np
from tests.scheduling import attributes, needs_slices, needs_the_call

from littlebig_benchmarks.processes import server_processes
from littlebig_client import Client
from littlebig_server import TritonServer


@needs_the_call
@needs_slices
def test_triton_and_the_gate_interrupt_the_stages_and_little_interrupts_big(server):
    found = {}
    for role, process in server_processes(server.pid):
        of_it = attributes(process.pid)
        found.setdefault(role, []).append((of_it.nice, of_it.runtime / 1e6))
    ((usual, short),) = set(found["tritonserver"])
    assert set(found["little_big"]) == {(usual, short)}
    assert set(found["little"]) == {(usual, 20.0)}
    assert set(found["big"]) == {(min(usual + 15, 19), 100.0)}
    assert short < 20


def test_a_stage_that_may_not_choose_its_slice_says_so_and_serves(tiny_repository, tmp_path):
    models = shutil.copytree(tiny_repository, tmp_path / "models")
    of_big = models / "big" / "1" / "littlebig_scheduling.py"
    # A processor that the file does not know is refused as a sandbox refuses: by an OSError.
    of_big.write_text(of_big.read_text() + "\n_SCHED_SETATTR.clear()\n")
    with TritonServer(models) as running, Client(running.grpc_url) as client:
        assert client.classify(np.zeros((32, 32, 3), np.uint8), policy="big").stage == "big"
        told = [line for line in running.log_tail() if "no slice of its own" in line]
    assert len(told) == 2, "one line for each instance"
    assert all("big: no slice of its own" in line and line.startswith("W") for line in told)
