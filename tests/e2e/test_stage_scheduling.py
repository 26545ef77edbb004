"""How the kernel schedules the stages of the cpu target while they are served."""

from tests.scheduling import attributes, needs_slices, needs_the_call

from littlebig_benchmarks.processes import server_processes


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
