"""`littlebig serve` as a process: what it prints, how signals end it, what it leaves when it is killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.tiny_pair import write_tiny_pair

from littlebig_client import Client
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair
from littlebig_server.keeper import group_members

Regions = Callable[[int], list[str]]
Eventually = Callable[[Callable[[], bool]], bool]
Serve = Callable[..., "subprocess.Popen[str]"]
FREE = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")


@pytest.fixture
def serve(repository: Path, tmp_path: Path) -> Iterator[Serve]:
    """Starts the command in a session of its own, as a terminal would; its log goes to the file `stderr`."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        with (tmp_path / "stderr").open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "littlebig_cli", "serve", "--repository", str(repository), *FREE, *words],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def printed_until_ready(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith("stop with"):
            return lines
    raise AssertionError(f"it ended before it was ready: {lines}")


def server_of(process: subprocess.Popen[str]) -> int:
    """The pid of the tritonserver below a `littlebig serve`: the child of its only child, the keeper."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    keepers = [pid for pid, parent in parents.items() if parent == process.pid]
    servers = [pid for pid, parent in parents.items() if parent in keepers]
    assert len(servers) == 1
    return servers[0]


def test_what_it_prints(serve: Serve, repository: Path, tmp_path: Path) -> None:
    process = serve("--", "--log-verbose=1")
    lines = printed_until_ready(process)

    patterns = [
        r"gRPC        127\.0\.0\.1:\d+",
        r"HTTP        http://127\.0\.0\.1:\d+",
        r"metrics     http://127\.0\.0\.1:\d+/metrics",
        rf"repository  {re.escape(str(repository))}",
        r"stop with Ctrl-C",
    ]
    assert len(lines) == len(patterns)
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line)
    log = (tmp_path / "stderr").read_text()
    assert "Started GRPCInferenceService" in log
    assert "Starting Python backend stub" in log  # only at verbose level 1: the further arguments arrived


@pytest.mark.parametrize("ask", ["SIGTERM", "Ctrl-C", "Ctrl-C twice"])
def test_a_signal_ends_it_in_peace(serve: Serve, regions: Regions, tmp_path: Path, ask: str) -> None:
    process = serve()
    printed_until_ready(process)
    server = server_of(process)
    assert regions(process.pid)

    if ask == "SIGTERM":
        process.send_signal(signal.SIGTERM)
    else:  # a terminal signals the whole foreground group
        for _ in range(ask.count("twice") + 1):
            os.killpg(process.pid, signal.SIGINT)

    assert process.wait(60) == 0
    assert group_members(server) == []
    assert regions(process.pid) == []
    log = (tmp_path / "stderr").read_text().splitlines()
    assert log.count("littlebig: stopping") == 1
    assert any("All models are stopped, unloading models" in line for line in log)
    assert "Traceback" not in "".join(log)


def test_a_signal_ends_it_while_it_starts(serve: Serve, regions: Regions, eventually: Eventually) -> None:
    process = serve()
    assert eventually(lambda: bool(regions(process.pid)))
    server = server_of(process)

    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == 0
    assert group_members(server) == []
    assert regions(process.pid) == []


@pytest.mark.parametrize("moment", ["while it starts", "when it is ready"])
def test_killed_it_leaves_nothing(serve: Serve, regions: Regions, eventually: Eventually, moment: str) -> None:
    process = serve()
    assert eventually(lambda: bool(regions(process.pid)))
    if moment == "when it is ready":
        printed_until_ready(process)
    server = server_of(process)
    assert group_members(server)

    process.kill()
    process.wait()

    assert eventually(lambda: group_members(server) == [])
    assert eventually(lambda: regions(process.pid) == [])


def test_it_says_so_when_the_server_ends_by_itself(serve: Serve, tmp_path: Path) -> None:
    process = serve()
    printed_until_ready(process)
    server = server_of(process)

    os.kill(server, signal.SIGKILL)

    assert process.wait(60) == 1
    assert (tmp_path / "stderr").read_text().splitlines()[-1] == (
        f"littlebig: tritonserver (pid {server}) ended by itself: killed by SIGKILL, perhaps by the kernel because memory ran out; full log: above"
    )


def test_a_failed_start_is_one_line(serve: Serve, repository: Path, tmp_path: Path) -> None:
    (repository / "classify" / "config.pbtxt").write_text("nonsense")
    process = serve()

    assert process.wait(60) == 1
    log = (tmp_path / "stderr").read_text()
    assert log.splitlines()[-1] == (
        "littlebig: tritonserver did not start: model 'classify' failed to load: config.pbtxt 1:9: "
        'Message type "inference.ModelConfig" has no field named "nonsense".; full log: above'
    )
    assert "Traceback" not in log


def test_serve_build_serves_a_cpu_repository_which_has_no_engines(tmp_path: Path) -> None:
    """The container's entry point, on a pair of tiny models: export, `littlebig serve --build`, stop."""
    repository = tmp_path / "exported"
    export_pair(load_pair(str(write_tiny_pair(tmp_path))), "cpu", repository)
    command = [sys.executable, "-m", "littlebig_cli", "serve", "--build", "--repository", str(repository), *FREE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        lines = printed_until_ready(process)
        with Client(lines[0].split()[-1]) as client:
            assert client.classify(np.zeros((32, 32, 3), np.uint8), policy="big").stage == "big"
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 0
