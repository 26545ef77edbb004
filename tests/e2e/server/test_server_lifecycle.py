"""A real tritonserver is started, called and stopped, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from tests.e2e.server.conftest import QUICK_STOP, regions_of

from littlebig_server import PortError, ServerSettings, StartError, TritonServer
from littlebig_server import server as server_module
from littlebig_server.installation import Installation, find_tritonserver
from littlebig_server.keeper import group_members
from littlebig_server.ports import Addresses, Ports, choose_ports


def doubled(url: str) -> list[list[float]]:
    values = triton.InferInput("X", [1, 4], "FP32")
    values.set_data_from_numpy(np.array([[1, 2, 3, 4]], np.float32))
    with triton.InferenceServerClient(url) as client:
        return client.infer("classify", [values], client_timeout=30).as_numpy("Y").tolist()


def keeper_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def listeners(port: int) -> set[str]:
    """Local addresses, as the kernel writes them, that listen on a port."""
    lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    local = [line.split()[1].split(":") for line in lines if line.split()[3] == "0A"]
    return {address for address, hexadecimal in local if int(hexadecimal, 16) == port}


def test_a_server_answers_on_loopback_and_leaves_nothing_behind(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    settings = ServerSettings(log_file=tmp_path / "triton.log")
    seen: list[str] = []

    with TritonServer(repository, settings, on_log=seen.append) as server:
        assert doubled(server.grpc_url) == [[2, 4, 6, 8]]
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(server.metrics_url, timeout=30) as page:
            assert b'nv_inference_request_success{model="classify"' in page.read()
        assert server.http_url.startswith("127.0.0.1:")
        loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
        for url in (server.grpc_url, server.http_url, server.metrics_url.removesuffix("/metrics")):
            addresses = listeners(int(url.rpartition(":")[2]))
            assert addresses
            assert addresses <= loopback
        assert {member.name for member in group_members(server.pid)} == {"tritonserver", "triton_python_b"}
        assert regions_of(server)
        assert list(temporary.iterdir())
        assert server.wait(timeout=0.1) is None

    assert group_members(server.pid) == []
    assert regions_of(server) == []
    assert list(temporary.iterdir()) == []
    log = list(server.log_tail())
    assert any("Started GRPCInferenceService" in line for line in log)
    assert seen == log
    assert (tmp_path / "triton.log").read_text().splitlines() == log
    server.stop()  # a second stop does nothing
    assert server.wait() is None


def test_servers_run_side_by_side_and_again(repository: Path, running: TritonServer) -> None:
    second = TritonServer(repository, QUICK_STOP)
    for _ in range(2):
        with second:
            assert doubled(running.grpc_url) == doubled(second.grpc_url) == [[2, 4, 6, 8]]
            assert len({running.grpc_url, running.http_url, second.grpc_url, second.http_url}) == 4
            with pytest.raises(StartError, match="the server is started already"):
                second.start()


def test_a_server_outlives_the_thread_that_started_it(repository: Path) -> None:
    server = TritonServer(repository, QUICK_STOP)
    starter = threading.Thread(target=server.start)
    starter.start()
    starter.join()
    try:
        assert server.wait(timeout=1.5) is None
        assert doubled(server.grpc_url) == [[2, 4, 6, 8]]
    finally:
        server.stop()


SLOW = pytest.mark.slow


@pytest.mark.parametrize("name", ["grpc", pytest.param("http", marks=SLOW), pytest.param("metrics", marks=SLOW)])
def test_a_free_port_that_was_taken_before_the_bind_is_replaced(
    repository: Path, running: TritonServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert running._ports is not None
    stolen = getattr(running._ports, name)
    chosen: list[Ports] = []

    def choose(addresses: Addresses, given: Ports) -> Ports:
        ports = choose_ports(addresses, given)
        chosen.append(Ports(**{**vars(ports), name: stolen}) if not chosen else ports)
        return chosen[-1]

    monkeypatch.setattr(server_module, "choose_ports", choose)
    with TritonServer(repository, QUICK_STOP) as second:
        assert len(chosen) == 2
        assert doubled(second.grpc_url) == [[2, 4, 6, 8]]


# Aborts as tritonserver does over a late model, and later runs the real one.
ABORTS = """#!/bin/sh
echo start >> "{starts}"
if [ "$(wc -l < "{starts}")" -le {aborts} ]; then
    echo "terminate called after throwing an instance of 'boost::interprocess::lock_exception'"
    kill -ABRT $$
fi
exec "{real}" "$@"
"""


@pytest.fixture
def aborting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[int], Path]:
    """aborting(n) makes the first n starts abort; returns a file with one line for each start."""

    def make(aborts: int) -> Path:
        real = find_tritonserver()
        starts, script = tmp_path / "starts", tmp_path / "tritonserver"
        script.write_text(ABORTS.format(starts=starts, aborts=aborts, real=real.binary))
        script.chmod(0o755)
        monkeypatch.setattr(server_module, "find_tritonserver", lambda _: Installation(script, real.wheel))
        return starts

    return make


def test_a_start_that_triton_aborts_over_a_late_model_is_repeated(
    repository: Path, aborting: Callable[[int], Path], tmp_path: Path
) -> None:
    starts, log = aborting(2), tmp_path / "triton.log"
    with TritonServer(repository, ServerSettings(log_file=log, exit_timeout=0)) as server:
        assert doubled(server.grpc_url) == [[2, 4, 6, 8]]
    assert len(starts.read_text().splitlines()) == 3
    assert log.read_text().count("terminate called") == 2, "the log of earlier attempts is kept"


def test_a_start_that_aborts_five_times_fails(repository: Path, aborting: Callable[[int], Path]) -> None:
    starts = aborting(1000)
    with pytest.raises(StartError, match="killed by SIGABRT after an uncaught boost::interprocess::lock_exception: "):
        TritonServer(repository).start()
    assert len(starts.read_text().splitlines()) == 5


def test_a_given_port_that_is_taken_is_refused(
    repository: Path, running: TritonServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(running.grpc_url.rpartition(":")[2])
    second = TritonServer(repository, ServerSettings(grpc_port=port))
    message = f"port {port} is taken (gRPC); choose another with --grpc-port or 0 for a free one"
    with pytest.raises(PortError) as failure:
        second.start()
    assert str(failure.value) == message
    assert second.log_tail() == []  # nothing was started
    # Taken after the check: the same line, from Triton's own log.
    free = choose_ports(Addresses(*["127.0.0.1"] * 3), Ports(0, 0, 0))
    monkeypatch.setattr(server_module, "choose_ports", lambda *_: Ports(free.http, port, free.metrics))
    with pytest.raises(PortError) as failure:
        second.start()
    assert str(failure.value) == message


def test_a_killed_server_is_reported_and_cleaned_up(repository: Path) -> None:
    with TritonServer(repository) as server:
        os.kill(server.pid, signal.SIGKILL)
        assert server.wait(timeout=60) == "killed by SIGKILL, perhaps by the kernel because memory ran out"
        assert group_members(server.pid) == []
        assert regions_of(server) == []


def test_a_server_that_ignores_sigterm_is_killed_after_its_exit_timeout(repository: Path) -> None:
    with TritonServer(repository, QUICK_STOP) as server:
        os.kill(server.pid, signal.SIGSTOP)
    assert group_members(server.pid) == []
    assert regions_of(server) == []


def test_a_server_whose_keeper_was_killed_is_cleaned_up(repository: Path) -> None:
    with TritonServer(repository) as server:
        os.kill(keeper_of(server.pid), signal.SIGKILL)
        server.wait(timeout=60)
    # The machine's init reaps its orphans, which may stay zombies until then.
    assert [member for member in group_members(server.pid) if not member.is_zombie] == []
    assert regions_of(server) == []
