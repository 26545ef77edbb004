"""What the watch does about lost processes, with a server and processes that a test controls."""

from dataclasses import dataclass, field

import pytest

from littlebig_server import ControlError, ServerSettings, watch
from littlebig_server.stubs import State, Stub


@dataclass(frozen=True)
class FakeStub(Stub):
    """A process whose state is in a dictionary."""

    states: dict[int, State] = field(default_factory=dict, compare=False)

    @property
    def state(self) -> State:
        return self.states.get(self.pid, State.RUNS)

    @property
    def cpu_s(self) -> float:
        return 0.0

    def kill(self) -> None:
        self.states[self.pid] = State.ENDED


class FakeServer:
    """Two processes of one model. A load replaces them, unless `refusals` has a reason left."""

    pid, keeper_pid, settings = 1, 2, ServerSettings()

    def __init__(self) -> None:
        self.states: dict[int, State] = {}
        self.refusals: list[str] = []
        self.loads, self.polls, self.was_stopped, self.was_killed = 0, 0, False, False
        self.pending = 0
        self._new()

    def _new(self) -> None:
        first = 100 + 2 * self.loads
        self.stubs = [FakeStub(first + at, "big", f"big_0_{at}", 0, self.states) for at in (0, 1)]

    def load_again(self, model: str, timeout: float) -> None:
        self.loads += 1
        if self.refusals:
            raise ControlError(self.refusals.pop(0))
        self._new()

    def wait(self, timeout: float) -> str | None:
        self.polls += 1
        return "the test is over" if self.polls > 40 else self.each_poll()

    def each_poll(self) -> str | None:
        return None

    def has_ended(self) -> bool:
        return False

    def kill(self) -> None:
        self.was_killed = True

    def stop(self) -> None:
        self.was_stopped = True

    def big_timeout_s(self) -> float:
        return 0.0

    def read_metrics(self) -> str:
        return f'nv_inference_pending_request_count{{model="big",version="1"}} {self.pending}\n'


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    fake = FakeServer()
    monkeypatch.setattr(watch, "find_stubs", lambda _: [s for s in fake.stubs if s.state is not State.ENDED])
    monkeypatch.setattr(watch, "state_of", lambda pid: fake.states.get(pid, State.RUNS))
    return fake


def run(server: FakeServer, hang_timeout: float = 0) -> tuple[str, list[str]]:
    """(why it ended, what it reported)."""
    lines: list[str] = []
    return watch.Watch(server, lines.append, hang_timeout).run(), lines  # type: ignore[arg-type]


OVER = "tritonserver (pid 1) ended by itself: the test is over"


def test_a_healthy_server_is_left_alone(server: FakeServer) -> None:
    assert run(server, hang_timeout=5) == (OVER, [])
    assert server.loads == 0


def test_a_dead_process_is_named_and_its_model_loaded_again(server: FakeServer) -> None:
    server.each_poll = lambda: server.states.update({101: State.ENDED}) if server.polls == 1 else None  # type: ignore
    ended, lines = run(server)
    assert (ended, server.loads) == (OVER, 1)
    assert lines[0] == "process 101 of model 'big', instance big_0_1, ended: loading the model again"
    assert lines[1].startswith("model 'big' is loaded again, after 0.")


def test_a_second_loss_is_healed_while_replaced_processes_still_end(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ever: dict[int, FakeStub] = {}

    def each_poll() -> None:
        server.states.update({101: State.ENDED} if server.polls == 1 else {103: State.ENDED})

    def find_stubs(_: int) -> list[FakeStub]:
        ever.update({stub.pid: stub for stub in server.stubs})
        return [stub for stub in ever.values() if stub.state is not State.ENDED]

    server.each_poll = each_poll  # type: ignore[method-assign]
    monkeypatch.setattr(watch, "find_stubs", find_stubs)
    assert run(server)[0] == OVER
    assert (server.loads, server.states) == (2, {101: State.ENDED, 103: State.ENDED})


def test_a_stopped_process_is_killed_at_the_second_look(server: FakeServer) -> None:
    seen: list[tuple[int, State]] = []

    def each_poll() -> None:
        if server.polls == 1:
            server.states[100] = State.STOPPED
        seen.append((server.loads, server.states[100]))

    server.each_poll = each_poll  # type: ignore[method-assign]
    _, lines = run(server)
    assert seen[:3] == [(0, State.STOPPED), (0, State.STOPPED), (1, State.ENDED)]
    assert lines[0] == "process 100 of model 'big', instance big_0_0, was stopped: loading the model again"


def test_a_process_that_a_tracer_stops_for_a_moment_is_left_alone(server: FakeServer) -> None:
    server.each_poll = lambda: server.states.update(  # type: ignore[method-assign, func-returns-value]
        {100: State.STOPPED if server.polls % 2 else State.RUNS}
    )
    assert run(server) == (OVER, [])


def test_a_refused_load_is_repeated(server: FakeServer) -> None:
    server.refusals = ["late", "late"]
    server.each_poll = lambda: server.states.update({100: State.ENDED})  # type: ignore[method-assign, func-returns-value]
    assert run(server)[0] == OVER
    assert server.loads == 3


def test_a_load_that_is_refused_three_times_ends_the_server(server: FakeServer) -> None:
    server.refusals = ["weights are missing"] * 3
    server.each_poll = lambda: server.states.update({100: State.ENDED})  # type: ignore[method-assign, func-returns-value]
    ended, _ = run(server)
    assert ended == (
        "process 100 of model 'big', instance big_0_0, ended, and the model could not be loaded again: "
        "weights are missing"
    )
    assert server.was_stopped


def test_a_model_that_is_lost_again_and_again_ends_the_server(server: FakeServer) -> None:
    server.each_poll = lambda: server.states.update({server.stubs[0].pid: State.ENDED})  # type: ignore
    ended, _ = run(server)
    assert ended.endswith("ended, the model's 11th loss within 300 s: see the log above")
    assert (server.loads, server.was_stopped) == (10, True)


@pytest.mark.parametrize(("pid", "name"), [(1, "tritonserver"), (2, "its keeper")])
def test_a_stopped_server_is_killed(server: FakeServer, pid: int, name: str) -> None:
    server.states[pid] = State.STOPPED
    ended, _ = run(server)
    assert ended == f"{name} (pid {pid}) was stopped by a signal, and killed"
    assert server.was_killed
    assert server.was_stopped


def test_a_server_with_a_hung_model_is_killed(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr(watch.time, "monotonic", lambda: float(next(clock)))
    server.pending = 3
    ended, _ = run(server, hang_timeout=5)
    assert ended == "model 'big' has not moved for 5 s while requests wait, and was killed"
    assert (server.loads, server.was_killed, server.was_stopped) == (0, True, True)


def test_a_second_loss_is_healed_while_replaced_processes_still_run(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ever: list[FakeStub] = []

    def all_running(_: int) -> list[FakeStub]:
        ever.extend(stub for stub in server.stubs if stub not in ever)
        return [stub for stub in ever if stub.state is State.RUNS]

    def each_poll() -> None:
        if server.polls in (1, 9):
            server.states[server.stubs[0].pid] = State.ENDED

    monkeypatch.setattr(watch, "find_stubs", all_running)
    server.each_poll = each_poll  # type: ignore[method-assign]
    assert run(server)[0] == OVER
    assert server.loads == 2
