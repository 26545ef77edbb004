"""Many requests through the gate (SOAK_REQUESTS, 200,000): no error, and neither memory nor /dev/shm grows."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc
from tests.perf_analyzer import perf_analyzer

from littlebig_benchmarks import perf_analyzer as load
from littlebig_benchmarks import processes, triton_statistics
from littlebig_benchmarks.errors import RunFailed, RunHung
from littlebig_benchmarks.images import for_stages_that_do_nothing, mix, perf_analyzer_input
from littlebig_benchmarks.serving import serving_stages_that_do_nothing

REQUESTS = int(os.environ.get("SOAK_REQUESTS", "200000"))
PORTION, SETTLED = 10_000, 20_000
CLIENTS, ESCALATION = 32, 0.15
REGIONS = "/dev/shm"  # noqa: S108
# The Python backend's pools of shared memory grow by MiBs whenever more is needed at once than ever before, and never
# shrink. So the test goes on until they have not grown for STILL requests: of 120,000, a leak of ten bytes per request
# cannot pass.
STILL, MOST_REQUESTS = REQUESTS * 6 // 10, REQUESTS * 3
# A heap grows if its growth is above this, in bytes per request, and above three standard errors. Without a leak it is up to
# 8, nearly all in a single step; one small Python object per request is about 60.
LEAST = 15.0
# Requests with a time limit that wait for big, which perf_analyzer does not send: the gate keeps a deadline and the images of
# each, some 3 KB, until it is answered. Batches of unsure images make the heaps step up and down by 4 MiB.
LIMITED, LIMIT_US, LEAST_LIMITED = 40_000, 5_000_000, 250.0

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


def shared_memory(server) -> float:
    """Bytes in /dev/shm that the server's processes have mapped."""
    mapped = {Path(region.path) for _, process in server for region in process.memory_maps(grouped=True)}
    return float(sum(file.stat().st_blocks * 512 for file in mapped if file.is_relative_to(REGIONS) and file.exists()))


def own_memory(process: psutil.Process) -> float:
    """Resident bytes that belong to no file and to no region of /dev/shm."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return 1024.0 * int(re.search(r"RssAnon:\s+(\d+) kB", status)[1])


def ask(binary, order, folder, answered) -> int:
    """Send a portion of requests; returns how many the gate has answered in all."""
    before = answered()
    try:
        load.run(binary, order, folder)
    except RunHung as hung:  # perf_analyzer can hang although every request was answered
        if answered() - before < order.requests:
            raise RunFailed(f"{hung} It answered {answered() - before} of {order.requests} requests.") from None
        print(f"perf_analyzer hung with all of {order.requests:,} requests answered")
    return answered()


def grows(asked: list[int], regions: list[float]) -> bool:
    """Whether shared memory has grown within the last STILL requests."""
    before = max(place for place, requests in enumerate(asked) if requests <= max(asked[-1] - STILL, asked[0]))
    return regions[-1] > regions[before]


def growth(requests, values):
    """Bytes per request, and the standard error, from the steps between one portion and the next.

    Least squares over the values would not do: each value is the one before plus a step, so their errors are correlated
    and the standard error would be too small.
    """
    steps = np.diff(values) / np.diff(requests)
    return float(steps.mean()), float(steps.std(ddof=1) / np.sqrt(len(steps)))


def test_memory_and_shared_memory_do_not_grow(tiny_repository, tmp_path):
    binary = perf_analyzer()
    (tmp_path / "models").mkdir()
    regions: list[float] = []
    heaps: dict[str, list[float]] = {}
    asked: list[int] = []
    with serving_stages_that_do_nothing(tiny_repository, {}, tmp_path / "models", None) as served:
        pictures = for_stages_that_do_nothing(100, ESCALATION, served.shape, seed=0)
        data = tmp_path / "images.json"
        data.write_text(perf_analyzer_input(pictures, mix(pictures, ESCALATION, CLIENTS, seed=0), encoded=False))
        order = load.Order(
            model="little_big",
            endpoint=served.endpoint,
            data=data,
            requests=PORTION,
            concurrency=CLIENTS,
        )
        server = processes.server_processes(served.pid)
        with tritonclient.grpc.InferenceServerClient(served.url) as triton:
            while not asked or asked[-1] < REQUESTS or (grows(asked, regions) and asked[-1] < MOST_REQUESTS):
                asked.append(ask(binary, order, tmp_path, lambda: triton_statistics.read(triton)["little_big"].images))
                regions.append(shared_memory(server))
                for role, process in server:
                    heaps.setdefault(f"{role} {process.pid}", []).append(own_memory(process))
            failed = triton.get_inference_statistics("little_big").model_stats[0].inference_stats.fail.count
        assert [process for _, process in server if not process.is_running()] == []
    assert failed == 0
    print(f"shared memory after each {PORTION:,} requests, MiB: {[round(held / 2**20) for held in regions]}")
    assert not grows(asked, regions)
    settled = [place for place, requests in enumerate(asked) if requests >= SETTLED]
    growing = {}
    for name, values in heaps.items():
        bytes_per_request, error = growth([asked[place] for place in settled], [values[place] for place in settled])
        print(f"{name}: {values[-1] / 2**20:.1f} MiB, {bytes_per_request:+.2f} ± {error:.2f} bytes per request")
        if bytes_per_request > max(LEAST, 3 * error):
            growing[name] = bytes_per_request
    assert growing == {}


def test_requests_with_a_time_limit_leave_no_memory_behind(tiny_repository, tmp_path):
    (tmp_path / "models").mkdir()
    heaps = []
    with serving_stages_that_do_nothing(tiny_repository, {}, tmp_path / "models", None) as served:
        pictures = for_stages_that_do_nothing(2, 0.5, served.shape, seed=0)
        (unsure,) = pictures.canonical[pictures.unsure]
        tensor = tritonclient.grpc.InferInput("image", [1, *served.shape], "UINT8").set_data_from_numpy(unsure[None])
        gates = [process for role, process in processes.server_processes(served.pid) if role == "little_big"]
        with tritonclient.grpc.InferenceServerClient(served.url) as triton, ThreadPoolExecutor(CLIENTS) as clients:
            for _ in range(0, SETTLED + LIMITED, PORTION):
                asked = [clients.submit(triton.infer, "little_big", [tensor], timeout=LIMIT_US) for _ in range(PORTION)]
                assert {answer.result().as_numpy("stage").item() for answer in asked} == {1}  # big, so all have waited
                heaps.append(sum(map(own_memory, gates)))
    settled = heaps[SETTLED // PORTION - 1 :]
    print(f"the gate's own memory after each {PORTION:,} requests, MiB: {[round(held / 2**20) for held in heaps]}")
    assert (settled[-1] - settled[0]) / LIMITED < LEAST_LIMITED
