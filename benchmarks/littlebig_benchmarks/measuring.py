"""One run of one contender: throughput and latency, Triton's counters, CPU time, memory, load of other processes."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from littlebig_benchmarks import in_process, load, perf_analyzer, processes, triton_statistics
from littlebig_benchmarks.baselines.onnxruntime_cascade import Layout, layouts
from littlebig_benchmarks.errors import NoPerfAnalyzer, RunFailed, RunHung
from littlebig_benchmarks.images import Mix, Pictures, mix, perf_analyzer_input
from littlebig_benchmarks.rounds import Case, Measures
from littlebig_benchmarks.serving import Served
from littlebig_contract.stages import STAGES

IN_PROCESS = "in_process"
# Contenders that are the same model with other inputs.
_MODELS = {"classify_small": "classify", "classify_12mp": "classify"}
# Length of a warm-up in requests per request in flight, and of the shortest run in requests.
_WARM_UP = 4
_LEAST = 40
# Trial runs of each layout of the in-process cascade, and their length in images.
_TRIES, _TRIED_WITH = 5, 150
# Senders that an order of pictures is made for where a request rate is measured.
_SENDERS = 8


@dataclass
class Bench:
    """One server under measurement.

    Attributes:
        served: the server.
        pictures: to choose from.
        binary: perf_analyzer; None where only our own load generator runs.
        folder: for files that perf_analyzer reads and writes.
        seconds: aimed length of a run.
        seed: of the mixes.
        layout: of the in-process cascade, once it is chosen.
    """

    served: Served
    pictures: Pictures
    binary: str | None
    folder: Path
    seconds: float
    seed: int
    layout: Layout | None = None
    _expected: dict[Case, float] = field(default_factory=dict)

    def run(self, case: Case) -> Measures:
        """Measure a case once. The first time, a warm-up comes before, which also sets the number of requests."""
        if case.contender == IN_PROCESS:
            return self._in_process(case)
        if case.own_load:
            return self._own_load(case)
        # perf_analyzer needs the requests of at least one second of a request rate.
        least = max(_LEAST, _WARM_UP * case.concurrency, math.ceil(case.request_rate or 0.0))
        if case not in self._expected:
            self._expected[case] = case.request_rate or self._ask(case, least)["images_per_second"]
        measures = self._ask(case, max(least, round(self._expected[case] * self.seconds)))
        if case.request_rate is None:
            self._expected[case] = measures["images_per_second"]
        return measures

    def _ask(self, case: Case, count: int) -> Measures:
        try:
            return self._ask_once(case, count)
        except RunHung:  # perf_analyzer itself may hang on a busy machine; a server would hang again
            return self._ask_once(case, count)

    def _ask_once(self, case: Case, count: int) -> Measures:
        if self.binary is None:
            raise NoPerfAnalyzer("this measurement needs perf_analyzer: name one with --perf-analyzer PATH")
        order = perf_analyzer.Order(
            model=case.contender,
            endpoint=self.served.endpoint,
            data=self._data(case),
            requests=count,
            concurrency=max(case.concurrency, 1),
            request_rate=case.request_rate,
            shared_memory=self.served.pid is not None,
        )
        server = processes.server_processes(self.served.pid)
        with self.served.endpoint.open() as client:
            counted, used = triton_statistics.read(client), processes.read(server)
            max_wait_s = max(perf_analyzer.MAX_WAIT_S, 10 * self.seconds)
            with processes.Meter(server) as meter:
                timing = perf_analyzer.run(self.binary, order, self.folder, max_wait_s)
            other_load = processes.other_load(used, processes.read(server))
            models = triton_statistics.differences(counted, triton_statistics.read(client))
        measures = {
            "images_per_second": timing.images_per_second,
            "images": float(timing.requests),
            **{f"p{share}_ms": timing.percentile(share) for share in (50, 90, 99)},
            "other_load": other_load,
        }
        little, big = models.get("little"), models.get("big")
        if case.contender not in STAGES and little is not None and big is not None and little.images:
            measures["escalation"] = big.images / little.images
        for name, model in models.items():
            if model.images:
                measures[f"{name}_batch"] = model.batch
                measures[f"{name}_queue_ms"] = model.queue_ms
                measures[f"{name}_compute_ms"] = model.compute_ms
        for name, seconds in meter.between(timing.first, timing.last).items():
            measures[f"cpu_ms_per_image_{name}"] = seconds / timing.steady * 1e3
        for name, size in processes.memory(server).items():
            measures[f"memory_mib_{name}"] = size
        return measures

    def _own_load(self, case: Case) -> Measures:
        def send(seconds: float) -> load.Answers:
            model = _MODELS.get(case.contender, case.contender)
            wanted = load.Load(model, seconds, case.concurrency, case.request_rate or 0.0, seed=self.seed)
            return load.run(self.served.endpoint, wanted, self.pictures, self.chosen(case))

        if case not in self._expected:  # a warm-up
            self._expected[case] = send(min(1.0, self.seconds)).images_per_second
        server = processes.server_processes(self.served.pid)
        used, cpu = processes.read(server), processes.cpu_seconds(server)
        answers = send(self.seconds)
        other_load, after = processes.other_load(used, processes.read(server)), processes.cpu_seconds(server)
        measures = {**answers.measures(), "other_load": other_load}
        for name, seconds in after.items():
            measures[f"cpu_ms_per_image_{name}"] = (seconds - cpu[name]) / answers.images * 1e3
        return measures

    def _in_process(self, case: Case) -> Measures:
        stages = in_process.graphs(self.served.repository) if self.served.repository else None
        if stages is None:
            raise RunFailed("the in-process cascade needs the pair's ONNX graphs, which this repository lacks")
        images = self._array(case)

        def run(layout: Layout, count: int) -> in_process.Answered:
            return in_process.run(stages, images, (self.served.score, self.served.threshold), layout, count)

        if self.layout is None:
            self.layout = best_layout(lambda layout: run(layout, _TRIED_WITH))
        if case not in self._expected:
            warm = run(self.layout, _LEAST)
            self._expected[case] = warm.images / warm.seconds
        used = processes.read([])
        answered = run(self.layout, max(_LEAST, round(self._expected[case] * self.seconds)))
        other_load = processes.other_load(used, processes.read([]))
        return {
            "images_per_second": answered.images / answered.seconds,
            "images": float(answered.images),
            "escalation": answered.escalated / answered.images,
            "other_load": other_load,
            "cpu_ms_per_image_in_process": answered.cpu_seconds / answered.images * 1e3,
        }

    def chosen(self, case: Case) -> Mix:
        """The mix of a case; half and half where the escalation rate makes no difference."""
        return mix(self.pictures, case.escalation or 0.5, case.concurrency or _SENDERS, self.seed)

    def _data(self, case: Case) -> Path:
        encoded = case.contender == "classify"
        path = self.folder / f"input_{'encoded' if encoded else 'canonical'}_{case.escalation}_{case.concurrency}.json"
        if not path.exists():
            path.write_text(perf_analyzer_input(self.pictures, self.chosen(case), encoded=encoded))
        return path

    def _array(self, case: Case) -> Path:
        path = self.folder / f"input_{case.escalation}_{case.concurrency}.npy"
        if not path.exists():
            np.save(path, self.pictures.canonical[self.chosen(case).order])
        return path


def best_layout(run: Callable[[Layout], in_process.Answered]) -> Layout:
    """The fastest layout of the in-process cascade on the cores that this process may use.

    Each runs a few times, in turns, because a single short run depends on what else the machine does.
    """
    tried = [{layout: run(layout) for layout in layouts(len(os.sched_getaffinity(0)))} for _ in range(_TRIES)]

    def rate(layout: Layout) -> float:
        return statistics.median(turn[layout].images / turn[layout].seconds for turn in tried)

    return max(tried[0], key=rate)
