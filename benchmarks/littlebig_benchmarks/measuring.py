"""One run of one contender, with everything that is counted around it."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tritonclient.grpc

from littlebig_benchmarks import in_process, load, perf_analyzer, processes, triton_statistics
from littlebig_benchmarks.baselines.onnxruntime_cascade import Layout, layouts
from littlebig_benchmarks.errors import RunFailed, RunHung
from littlebig_benchmarks.images import Mix, Pictures, mix, perf_analyzer_input
from littlebig_benchmarks.rounds import Case, Measures
from littlebig_benchmarks.serving import Served

IN_PROCESS = "in_process"
# Length of a warm-up, in requests per client, and the shortest run that says anything.
_WARM_UP = 4
_LEAST = 40
# Runs of each layout of the in-process cascade, and their length in images, to choose one by.
_TRIES, _TRIED_WITH = 5, 150
# Where a rate is offered there are no clients to share the pictures out to; this many make a long enough order.
_COLUMNS = 8


@dataclass
class Bench:
    """One server under measurement.

    Attributes:
        served: the server.
        pictures: to choose from.
        binary: perf_analyzer.
        folder: for files that perf_analyzer reads and writes.
        seconds: aimed length of a run.
        seed: of the mixes.
        layout: the in-process cascade's, once it was chosen.
    """

    served: Served
    pictures: Pictures
    binary: str
    folder: Path
    seconds: float
    seed: int
    layout: Layout | None = None
    _expected: dict[Case, float] = field(default_factory=dict)

    def run(self, case: Case) -> Measures:
        """Measure a case once; the first time it is warmed up before, which also tells how long a run must be."""
        if case.contender == IN_PROCESS:
            return self._in_process(case)
        if case.apart:
            return self._apart(case)
        # perf_analyzer wants at least one second's requests of an offered rate.
        least = max(_LEAST, _WARM_UP * case.clients, math.ceil(case.rate or 0.0))
        if case not in self._expected:
            self._expected[case] = case.rate or self._ask(case, least)["images_per_second"]
        measures = self._ask(case, max(least, round(self._expected[case] * self.seconds)))
        if case.rate is None:
            self._expected[case] = measures["images_per_second"]
        return measures

    def _ask(self, case: Case, count: int) -> Measures:
        try:
            return self._ask_once(case, count)
        except RunHung:  # perf_analyzer itself, once in some hundred runs of a busy machine; a server would hang again
            return self._ask_once(case, count)

    def _ask_once(self, case: Case, count: int) -> Measures:
        order = perf_analyzer.Order(
            model=case.contender,
            url=self.served.url,
            data=self._data(case),
            requests=count,
            concurrency=max(case.clients, 1),
            rate=case.rate,
            shared_memory=self.served.pid is not None,
        )
        server = processes.server_processes(self.served.pid)
        with tritonclient.grpc.InferenceServerClient(self.served.url) as client:
            counted, used = triton_statistics.read(client), processes.read(server)
            patience = max(perf_analyzer.PATIENCE, 10 * self.seconds)
            with processes.Meter(server) as meter:
                timing = perf_analyzer.run(self.binary, order, self.folder, patience)
            other_load = processes.other_load(used, processes.read(server))
            models = triton_statistics.differences(counted, triton_statistics.read(client))
        measures = {
            "images_per_second": timing.images_per_second,
            "images": float(timing.requests),
            **{f"p{share}_ms": timing.percentile(share) for share in (50, 90, 99)},
            "other_load": other_load,
        }
        little, big = models.get("little"), models.get("big")
        if case.contender not in ("little", "big") and little is not None and big is not None and little.images:
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

    def _apart(self, case: Case) -> Measures:
        def ask(seconds: float) -> load.Answers:
            wanted = load.Load(case.contender, seconds, case.clients, case.rate or 0.0, seed=self.seed)
            return load.run(self.served.url, wanted, self.pictures, self.chosen(case))

        if case not in self._expected:  # the first time it is only warmed up
            self._expected[case] = ask(min(1.0, self.seconds)).images_per_second
        server = processes.server_processes(self.served.pid)
        used = processes.read(server)
        answers = ask(self.seconds)
        other_load = processes.other_load(used, processes.read(server))
        return {**answers.measures(), "other_load": other_load}

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
        """The mix of a case; where escalation makes no difference, an even one."""
        return mix(self.pictures, case.escalation or 0.5, case.clients or _COLUMNS, self.seed)

    def _data(self, case: Case) -> Path:
        encoded = case.contender == "classify"
        path = self.folder / f"input_{'encoded' if encoded else 'canonical'}_{case.escalation}_{case.clients}.json"
        if not path.exists():
            path.write_text(perf_analyzer_input(self.pictures, self.chosen(case), encoded=encoded))
        return path

    def _array(self, case: Case) -> Path:
        path = self.folder / f"input_{case.escalation}_{case.clients}.npy"
        if not path.exists():
            np.save(path, self.pictures.canonical[self.chosen(case).order])
        return path


def best_layout(run: Callable[[Layout], in_process.Answered]) -> Layout:
    """The fastest layout of the in-process cascade on the cores that this process may use.

    Each is run a few times, in turns: a single short run is decided by what else the machine does.
    """
    tried = [{layout: run(layout) for layout in layouts(len(os.sched_getaffinity(0)))} for _ in range(_TRIES)]

    def rate(layout: Layout) -> float:
        return statistics.median(turn[layout].images / turn[layout].seconds for turn in tried)

    return max(tried[0], key=rate)
