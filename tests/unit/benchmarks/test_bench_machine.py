"""Processes, Triton's statistics, and the order of rounds."""

import os
import subprocess
import sys
import threading
import time

import psutil
import pytest
from tritonclient.grpc import service_pb2

from littlebig_benchmarks import processes, triton_statistics
from littlebig_benchmarks.errors import RunFailed
from littlebig_benchmarks.machine import processor
from littlebig_benchmarks.processes import Used
from littlebig_benchmarks.rounds import Case, interleaved, order_of
from littlebig_benchmarks.triton_statistics import Counted


def test_role_of_a_process_is_read_from_its_command_line():
    stub = ["/opt/python/triton_python_backend_stub", "/srv/models/little_big/1/model.py", "prefix", "1048576"]
    assert processes.role(stub) == "little_big"
    assert processes.role(["/opt/tritonserver/bin/tritonserver", "--model-repository=/srv"]) == "tritonserver"


def test_other_load_is_the_machines_time_less_ours():
    before = Used(ours=2.0, machine=100.0, wall=200.0)
    after = Used(ours=7.0, machine=107.0, wall=210.0)
    assert processes.other_load(before, after) == pytest.approx(0.2)


@pytest.mark.serial
def test_work_of_children_counts_as_ours():
    before = processes.read([])
    subprocess.run([sys.executable, "-c", "sum(range(20_000_000))"], check=True)
    after = processes.read([])
    assert 0.0 <= processes.other_load(before, after) <= 1.0
    assert after.ours - before.ours > 0.1


@pytest.mark.serial
def test_meter_reports_cpu_time_of_any_part_of_a_run():
    work = "import time; print(time.time()); sum(range(20_000_000)); print(time.time(), flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with processes.Meter([("big", psutil.Process(process.pid))]) as meter:
        began, ended = float(process.stdout.readline()), float(process.stdout.readline())
        rested = ended + (ended - began)
        while time.time() < rested:
            threading.Event().wait(0.01)
    worked, idle = meter.between(began, ended)["big"], meter.between(ended, rested)["big"]
    process.communicate("")
    assert 0.1 < worked <= ended - began + 0.1
    assert idle < worked / 2
    assert meter.between(began, rested)["big"] == pytest.approx(worked + idle)


def test_server_that_ends_stops_the_readings_and_not_the_run(capfd):
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, text=True)
    threads = threading.active_count()

    def run():
        process.communicate("")
        deadline = time.monotonic() + 10
        while threading.active_count() > threads and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        raise RunFailed(f"readings by {threading.active_count() - threads} threads")

    with pytest.raises(RunFailed, match="by 0 threads"), processes.Meter([("big", psutil.Process(process.pid))]):
        run()
    assert capfd.readouterr().err == ""


def test_memory_and_role_of_this_process_are_read():
    (result,) = (entry for entry in processes.server_processes(os.getpid()) if entry[1].pid == os.getpid())
    assert result[0] == "tritonserver"
    assert processes.memory([result])["tritonserver"] > 1
    assert processes.server_processes(None) == []


def test_counters_are_differences_with_means_per_request_and_batch():
    answer = service_pb2.ModelStatisticsResponse()
    for version in ("1", "2"):
        model = answer.model_stats.add(name="big", version=version, inference_count=30, execution_count=10)
        model.inference_stats.queue.count = 15
        model.inference_stats.queue.ns = 60_000_000
        for size, count in ((2, 5), (4, 5)):
            batch = model.batch_stats.add(batch_size=size)
            batch.compute_infer.count, batch.compute_infer.ns = count, count * size * 10_000_000
    now = triton_statistics.counters(answer)
    assert now == {"big": Counted(60, 30, 20, 120_000_000, 600_000_000)}
    since = triton_statistics.differences({"big": Counted(20, 10, 10, 40_000_000, 200_000_000)}, now)["big"]
    assert (since.images, since.batch, since.queue_ms, since.compute_ms) == (40, 4.0, 4.0, 40.0)
    assert Counted().batch == Counted().queue_ms == Counted().compute_ms == 0.0


def test_every_case_is_measured_once_per_round_and_none_is_always_first():
    cases = [Case(name) for name in "abcde"]
    asked = []

    def measure(case):
        asked.append(case.contender)
        return {"images_per_second": float(len(asked))}

    lines, results = [], {}
    interleaved(cases, 5, measure, lines.append, results)
    by_round = [asked[start : start + 5] for start in range(0, 25, 5)]
    assert all(sorted(names) == list("abcde") for names in by_round)
    assert len({names[0] for names in by_round}) >= 4
    assert [len(runs) for runs in results.values()] == [5] * 5
    assert lines[0] == "round 1/5: a: 1.0 images/s"


def test_incomplete_round_is_dropped():
    def measure(case):
        if len(lines) == 5:  # one case into the third round
            raise KeyboardInterrupt
        return {"images_per_second": 1.0}

    lines, results = [], {}
    with pytest.raises(KeyboardInterrupt):
        interleaved([Case("a"), Case("b")], 5, measure, lines.append, results)
    assert [(case.contender, len(runs)) for case, runs in results.items()] == [("a", 2), ("b", 2)]


def test_two_cases_alternate_at_being_first():
    cases = [Case("a"), Case("b")]
    assert {order_of(cases, number)[0].contender for number in range(4)} == {"a", "b"}


def test_case_prints_contender_load_and_escalation_rate():
    assert str(Case("little_big", 0.15, 16)) == "little_big, concurrency 16, 15% escalated"
    assert str(Case("little", 0.15, request_rate=70.4)) == "little, 70/s, 15% escalated"


def test_processor_is_named():
    assert processor("processor : 0\nmodel name\t: AMD EPYC 9B14\n") == "AMD EPYC 9B14"
    assert processor("") != ""
