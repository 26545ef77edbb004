"""One contender under perf_analyzer: its command line and its profile export."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from littlebig_benchmarks.endpoint import Endpoint, perf_analyzer_arguments
from littlebig_benchmarks.errors import NoPerfAnalyzer, RunFailed, RunHung

_REMEDY = "pip install perf-analyzer (glibc 2.38 or later), or name one with --perf-analyzer PATH"
# A run is bounded by its number of requests. This limit, in seconds, is for a server that stopped answering and for
# perf_analyzer 2.60 itself, which may hang on a busy machine although every request was answered.
MAX_WAIT_S = 60.0


@dataclass(frozen=True)
class Order:
    """One run of perf_analyzer.

    Attributes:
        model: to send requests to.
        endpoint: the server's.
        data: file for --input-data.
        requests: how many.
        concurrency: requests in flight.
        request_rate: requests per second, arriving as a Poisson process; in place of `concurrency`.
        shared_memory: whether images travel through system shared memory; the server must be on this machine.
    """

    model: str
    endpoint: Endpoint
    data: Path
    requests: int
    concurrency: int = 1
    request_rate: float | None = None
    shared_memory: bool = True


@dataclass(frozen=True)
class Timing:
    """The timing of one run.

    Attributes:
        requests: how many were answered.
        first: start of the steady state: about two responses per request in flight, in seconds since the epoch.
        last: its end: when the last request was sent. Before and after, the server has fewer requests than the load
            asks for.
        steady: responses between them.
        latencies_ms: one per request, sorted.
    """

    requests: int
    first: float
    last: float
    steady: int
    latencies_ms: tuple[float, ...]

    @property
    def images_per_second(self) -> float:
        """Responses per second in the steady state."""
        return self.steady / (self.last - self.first)

    def percentile(self, share: float) -> float:
        """A percentile of the latencies, in milliseconds."""
        return float(np.percentile(self.latencies_ms, share))


def find_perf_analyzer(named: str | None) -> str:
    """The perf_analyzer to use.

    Raises:
        NoPerfAnalyzer: if the named one does not exist, or none is on PATH.
    """
    path = shutil.which(named or "perf_analyzer")
    if path is not None:
        return str(Path(path).absolute())  # it is started in another folder
    if named is None:
        raise NoPerfAnalyzer(f"no perf_analyzer on PATH: {_REMEDY}")
    raise NoPerfAnalyzer(f"perf_analyzer '{named}' does not exist or cannot be executed: {_REMEDY}")


def version(binary: str) -> str:
    """The version of perf_analyzer.

    Raises:
        NoPerfAnalyzer: if it does not run on this machine.
    """
    try:
        process = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as reason:
        raise NoPerfAnalyzer(f"perf_analyzer '{binary}' does not run here ({reason}): {_REMEDY}") from None
    if process.returncode != 0:
        raise NoPerfAnalyzer(f"perf_analyzer '{binary}' does not run here ({_last_line(process.stderr)}): {_REMEDY}")
    return (process.stdout or process.stderr).strip()


def command_line(binary: str, order: Order, export: Path) -> list[str]:
    """The command line of perf_analyzer.

    Args:
        binary: perf_analyzer.
        order: the run.
        export: file for the profile export; must not exist.

    Raises:
        ScenarioError: if perf_analyzer cannot reach the server.
    """
    load = (
        [f"--concurrency-range={order.concurrency}"]
        if order.request_rate is None
        else [f"--request-rate-range={order.request_rate:.2f}", "--request-distribution=poisson"]
    )
    return [
        binary,
        *("-m", order.model, *perf_analyzer_arguments(order.endpoint), "--async"),
        *load,
        f"--input-data={order.data}",
        f"--request-count={order.requests}",
        f"--shared-memory={'system' if order.shared_memory else 'none'}",
        f"--profile-export-file={export}",
    ]


def run(binary: str, order: Order, folder: Path, max_wait_s: float = MAX_WAIT_S) -> Timing:
    """Run perf_analyzer once.

    Args:
        binary: perf_analyzer.
        order: the run.
        folder: for its files.
        max_wait_s: time limit, in seconds.

    Raises:
        RunHung: if it did not end within the limit.
        RunFailed: if it failed, with the last line of its output.
    """
    export = folder / "profile_export.json"
    export.unlink(missing_ok=True)
    try:
        process = subprocess.run(
            command_line(binary, order, export),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=max_wait_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RunHung(
            f"perf_analyzer on '{order.model}' did not end within {max_wait_s:g} s: is the server still answering?"
        ) from None
    if process.returncode != 0 or not export.exists():
        raise RunFailed(
            f"perf_analyzer on '{order.model}' failed: {_last_line(process.stderr) or _last_line(process.stdout)}"
        )
    # perf_analyzer writes BYTES inputs raw between quotes: its JSON is no valid UTF-8. Only numbers are read from it.
    return parse_export(export.read_text(encoding="latin-1"), order)


def parse_export(text: str, order: Order) -> Timing:
    """Read a profile export.

    Raises:
        RunFailed: if it holds no answered request.
    """
    experiments = json.loads(text, strict=False)["experiments"]
    requests = [request for experiment in experiments for request in experiment["requests"]]
    spans = [
        (request["timestamp"], request["response_timestamps"][-1])
        for request in requests
        if request["response_timestamps"]
    ]
    if not spans:
        raise RunFailed(f"perf_analyzer on '{order.model}': no request was answered; look at the server's log")
    answers = sorted(answered for _, answered in spans)
    # Until about two responses per request in flight, the queues inside the server are still filling.
    first, last = answers[min(2 * order.concurrency, len(answers) // 4)], max(sent for sent, _ in spans)
    steady = sum(first < answered <= last for answered in answers)
    if not steady:
        raise RunFailed(f"perf_analyzer on '{order.model}': {len(spans)} requests are too few for a rate; ask for more")
    latencies = sorted((answered - sent) / 1e6 for sent, answered in spans)
    return Timing(len(spans), first / 1e9, last / 1e9, steady, tuple(latencies))


def _last_line(text: Sequence[str] | str) -> str:
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    return lines[-1] if lines else ""
