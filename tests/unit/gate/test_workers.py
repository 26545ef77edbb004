"""Threads for calls that block: none waits for another, and the one that was busy last is used first."""

import queue
import threading

from littlebig_workers import Workers

DEADLINE = 20


def test_work_that_blocks_keeps_nobody_from_working():
    workers, begun, go = Workers(), queue.SimpleQueue(), threading.Event()

    def work():
        begun.put(threading.get_ident())
        go.wait(DEADLINE)

    for _ in range(3):
        workers.run(work)
    assert len({begun.get(timeout=DEADLINE) for _ in range(3)}) == 3
    go.set()


def test_of_those_that_are_free_the_one_that_was_busy_last_works_next():
    workers, begun = Workers(), queue.SimpleQueue()
    gates = [threading.Event() for _ in range(3)]

    def run(gate):
        workers.run(lambda: (begun.put(threading.current_thread()), gate.wait(DEADLINE)))
        return begun.get(timeout=DEADLINE)

    threads = [run(gate) for gate in gates]
    for finished, gate in enumerate(gates, 1):
        gate.set()
        free(workers, finished)
    done = threading.Event()
    done.set()
    for _ in range(5):
        assert run(done) is threads[-1]
        free(workers, 3)


def free(workers, number):
    """Wait until so many threads are free."""
    deadline = threading.Event()
    for _ in range(DEADLINE * 1000):
        if len(workers._free) == number:
            return
        deadline.wait(0.001)
    raise AssertionError(f"{len(workers._free)} threads are free, not {number}")
