"""`littlebig serve` as a process: what it prints, how signals end it, what it leaves behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tests.e2e.server.conftest import eventually, regions

from littlebig_client import Client
from littlebig_server.keeper import group_members

Serve = Callable[..., "subprocess.Popen[str]"]
FREE = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
QUICK_STOP = ("--exit-timeout", "0")


@contextmanager
def serving(repository: Path, log: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The command in its own session, as in a terminal; its stderr goes to the file `log`."""
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "littlebig_cli", "serve", "--repository", str(repository), *FREE, *words],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "stderr"


@pytest.fixture
def process(repository: Path, log: Path) -> Iterator[subprocess.Popen[str]]:
    with serving(repository, log, *QUICK_STOP) as started:
        yield started


def printed_until_ready(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith("stop with"):
            return lines
    raise AssertionError(f"it ended before it was ready: {lines}")


def regions_below(process: subprocess.Popen[str]) -> list[str]:
    """Names of the shared memory regions of a command's server."""
    return regions(f"littlebig_{process.pid}_")


def server_of(process: subprocess.Popen[str]) -> int:
    """The pid of a command's tritonserver: the child of its only child, the keeper."""
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


@dataclass
class Run:
    """One run of the command, from its start to its clean end by SIGTERM."""

    printed: list[str]
    log: list[str]
    code: int
    had_regions: bool
    left_behind: list[object]


@pytest.fixture(scope="module")
def run(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    log = tmp_path_factory.mktemp("run") / "stderr"
    with serving(repository, log, "--", "--log-verbose=1") as process:
        printed = printed_until_ready(process)
        server, had_regions = server_of(process), bool(regions_below(process))
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        left_behind = [*group_members(server), *regions_below(process)]
    return Run(printed, log.read_text().splitlines(), code, had_regions, left_behind)


def test_it_prints_the_endpoints_and_writes_the_log_to_stderr(run: Run, repository: Path) -> None:
    patterns = [
        r"gRPC        127\.0\.0\.1:\d+",
        r"HTTP        http://127\.0\.0\.1:\d+",
        r"metrics     http://127\.0\.0\.1:\d+/metrics",
        rf"repository  {re.escape(str(repository))}",
        r"stop with Ctrl-C",
    ]
    for line, pattern in zip(run.printed, patterns, strict=True):
        assert re.fullmatch(pattern, line)
    assert any("Started GRPCInferenceService" in line for line in run.log)
    # Only at verbose level 1: arguments after -- arrive.
    assert any("Starting Python backend stub" in line for line in run.log)


def test_sigterm_stops_it_cleanly_and_leaves_nothing_behind(run: Run) -> None:
    assert run.had_regions
    assert (run.code, run.left_behind) == (0, [])
    assert run.log.count("littlebig: stopping") == 1
    assert any("All models are stopped, unloading models" in line for line in run.log)
    assert "Traceback" not in "".join(run.log)


def test_a_second_ctrl_c_does_not_disturb_the_stop(process: subprocess.Popen[str], log: Path) -> None:
    printed_until_ready(process)
    server = server_of(process)

    for _ in range(2):  # a terminal signals the whole foreground group
        os.killpg(process.pid, signal.SIGINT)

    assert process.wait(60) == 0
    assert (group_members(server), regions_below(process)) == ([], [])
    assert log.read_text().splitlines().count("littlebig: stopping") == 1
    assert "Traceback" not in log.read_text()


def test_sigterm_ends_it_while_it_starts(process: subprocess.Popen[str]) -> None:
    assert eventually(lambda: bool(regions_below(process)))
    server = server_of(process)

    process.send_signal(signal.SIGTERM)

    assert process.wait(60) == 0
    assert (group_members(server), regions_below(process)) == ([], [])


@pytest.mark.parametrize("moment", ["while it starts", "when it is ready"])
def test_after_sigkill_nothing_is_left_behind(process: subprocess.Popen[str], moment: str) -> None:
    assert eventually(lambda: bool(regions_below(process)))
    if moment == "when it is ready":
        printed_until_ready(process)
    server = server_of(process)
    assert group_members(server)

    process.kill()
    process.wait()

    assert eventually(lambda: group_members(server) == [])
    assert eventually(lambda: regions_below(process) == [])


def test_it_reports_a_server_that_ends_by_itself(process: subprocess.Popen[str], log: Path) -> None:
    printed_until_ready(process)
    server = server_of(process)

    os.kill(server, signal.SIGKILL)

    assert process.wait(60) == 1
    assert log.read_text().splitlines()[-1] == (
        f"littlebig: tritonserver (pid {server}) ended by itself: killed by SIGKILL, perhaps by the kernel because memory ran out; full log: above"
    )


def test_a_failed_start_is_reported_in_one_line(make_repository: Callable[..., Path], log: Path) -> None:
    with serving(make_repository(config="nonsense"), log) as process:
        assert process.wait(60) == 1
    assert log.read_text().splitlines()[-1] == (
        "littlebig: tritonserver did not start: model 'classify' failed to load: config.pbtxt 1:9: "
        'Message type "inference.ModelConfig" has no field named "nonsense".; full log: above'
    )
    assert "Traceback" not in log.read_text()


@pytest.mark.slow
def test_serve_build_serves_a_cpu_repository_which_has_no_engines(tiny_repository: Path, log: Path) -> None:
    """The container's entry point, on a pair of tiny models."""
    with serving(tiny_repository, log, "--build", *QUICK_STOP) as process:
        lines = printed_until_ready(process)
        with Client(lines[0].split()[-1]) as client:
            assert client.classify(np.zeros((32, 32, 3), np.uint8), policy="big").stage == "big"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
