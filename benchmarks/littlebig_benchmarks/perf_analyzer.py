"""One contender under perf_analyzer: its command line, and what its profile export says."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from littlebig_benchmarks.errors import NoPerfAnalyzer, RunFailed, RunHung

_REMEDY = "pip install perf-analyzer (glibc 2.38 or later), or name one with --perf-analyzer PATH"
# A run is bounded by its number of requests; this many seconds are for a server that stopped answering, and for
# perf_analyzer 2.60 itself: on a busy machine it may wait for ever although every request was answered.
PATIENCE = 60.0


@dataclass(frozen=True)
class Order:
    """What one run of perf_analyzer does.

    Attributes:
        model: that is asked.
        url: HOST:PORT of the gRPC endpoint.
        data: file for --input-data.
        requests: how many.
        concurrency: clients, each asking one image after another.
        rate: requests per second, arriving as a Poisson process; in place of `concurrency`.
        shared_memory: images through system shared memory; the server must be on this machine.
    """

    model: str
    url: str
    data: Path
    requests: int
    concurrency: int = 1
    rate: float | None = None
    shared_memory: bool = True


@dataclass(frozen=True)
class Timing:
    """What the requests of one run took.

    Attributes:
        requests: how many were answered.
        first: when each client had about two answers, seconds since the epoch.
        last: when the last request was sent, likewise. Before and after, the server is not as busy as the load would
            have it.
        steady: answers between them.
        latencies_ms: one per request, sorted.
    """

    requests: int
    first: float
    last: float
    steady: int
    latencies_ms: tuple[float, ...]

    @property
    def images_per_second(self) -> float:
        """Answers over time, while the server had as many requests as the load would have it."""
        return self.steady / (self.last - self.first)

    def percentile(self, share: float) -> float:
        """Milliseconds that a share, in percent, of the requests took at most."""
        return float(np.percentile(self.latencies_ms, share))


def find_perf_analyzer(named: str | None) -> str:
    """The perf_analyzer to use.

    Raises:
        NoPerfAnalyzer: if the named one does not exist, or none is on PATH.
    """
    found = shutil.which(named or "perf_analyzer")
    if found is not None:
        return str(Path(found).absolute())  # it is started in another folder
    if named is None:
        raise NoPerfAnalyzer(f"no perf_analyzer on PATH: {_REMEDY}")
    raise NoPerfAnalyzer(f"perf_analyzer '{named}' does not exist or cannot be executed: {_REMEDY}")


def version(binary: str) -> str:
    """What perf_analyzer says of itself.

    Raises:
        NoPerfAnalyzer: if it does not run here.
    """
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as reason:
        raise NoPerfAnalyzer(f"perf_analyzer '{binary}' does not run here ({reason}): {_REMEDY}") from None
    if said.returncode != 0:
        raise NoPerfAnalyzer(f"perf_analyzer '{binary}' does not run here ({_last_line(said.stderr)}): {_REMEDY}")
    return (said.stdout or said.stderr).strip()


def command_line(binary: str, order: Order, export: Path) -> list[str]:
    """The words that start perf_analyzer.

    Args:
        binary: perf_analyzer.
        order: what to do.
        export: file for the profile export; must not exist.
    """
    load = (
        [f"--concurrency-range={order.concurrency}"]
        if order.rate is None
        else [f"--request-rate-range={order.rate:.2f}", "--request-distribution=poisson"]
    )
    return [
        binary,
        *("-m", order.model, "-u", order.url, "-i", "grpc", "--async"),
        *load,
        f"--input-data={order.data}",
        f"--request-count={order.requests}",
        f"--shared-memory={'system' if order.shared_memory else 'none'}",
        f"--profile-export-file={export}",
    ]


def run(binary: str, order: Order, folder: Path, patience: float = PATIENCE) -> Timing:
    """Run perf_analyzer once.

    Args:
        binary: perf_analyzer.
        order: what to do.
        folder: for its files.
        patience: seconds that it may take.

    Raises:
        RunHung: if it took longer.
        RunFailed: if it failed, with its own last word.
    """
    export = folder / "profile_export.json"
    export.unlink(missing_ok=True)
    try:
        said = subprocess.run(
            command_line(binary, order, export),
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=patience,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RunHung(
            f"perf_analyzer on '{order.model}' did not end within {patience:g} s: is the server still answering?"
        ) from None
    if said.returncode != 0 or not export.exists():
        raise RunFailed(
            f"perf_analyzer on '{order.model}' failed: {_last_line(said.stderr) or _last_line(said.stdout)}"
        )
    # It writes BYTES inputs as they are between its quotes, so its JSON is no valid UTF-8; only numbers are read of it.
    return parse_export(export.read_text(encoding="latin-1"), order)


def parse_export(text: str, order: Order) -> Timing:
    """Read a profile export.

    Raises:
        RunFailed: if it holds no answered request.
    """
    experiments = json.loads(text, strict=False)["experiments"]
    requests = [request for experiment in experiments for request in experiment["requests"]]
    spans = [(one["timestamp"], one["response_timestamps"][-1]) for one in requests if one["response_timestamps"]]
    if not spans:
        raise RunFailed(f"perf_analyzer on '{order.model}': no request was answered; look at the server's log")
    answers = sorted(answered for _, answered in spans)
    # Until every client has had about two answers, the queues inside the server are still filling up.
    first, last = answers[min(2 * order.concurrency, len(answers) // 4)], max(sent for sent, _ in spans)
    steady = sum(first < answered <= last for answered in answers)
    if not steady:
        raise RunFailed(f"perf_analyzer on '{order.model}': {len(spans)} requests are too few for a rate; ask for more")
    latencies = sorted((answered - sent) / 1e6 for sent, answered in spans)
    return Timing(len(spans), first / 1e9, last / 1e9, steady, tuple(latencies))


def _last_line(text: Sequence[str] | str) -> str:
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    return lines[-1] if lines else ""
