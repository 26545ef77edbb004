"""A request rate above the cascade's throughput, with a latency target: what happens to each request, and afterwards.

The gate is served twice: unchanged, to measure its throughput, and with the target, to be overloaded. Its queue then
rejects requests that have waited for half the target, because shedding relieves big but not little. The other half is
for the batch that the gate takes next; a target that is too short for a full batch cannot be kept.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from littlebig_benchmarks import images, load
from littlebig_benchmarks.errors import ImagesError
from littlebig_benchmarks.images import Mix, Pictures
from littlebig_benchmarks.load import Load, Reply
from littlebig_benchmarks.serving import Served, most_images_at_once, serving, write_gate_with_target

Report = Callable[[str], None]
_OVERLOADED = "overloaded"
_STAGE_BIG, _STAGE_SHED = 1, 3  # codes of the output `stage`
# Seconds of a throughput measurement, and the fraction of the throughput that is sent after the overload.
_CAPACITY_SECONDS, _NORMAL = 8.0, 0.5
_FIRST_SECONDS = 5.0
# Fewest requests for a 99th percentile.
_LEAST = 100


@dataclass(frozen=True)
class Trial:
    """The load of one trial.

    Attributes:
        latency_target_ms: the gate's; None for the shortest that full batches allow on this machine.
        excess: request rate, as a multiple of the gate's throughput.
        seconds: length of the overload.
        after: seconds at half of the gate's throughput, afterwards.
        concurrency: requests in flight, to measure throughput.
        threshold: parameter of each request; None for the repository's. A higher one escalates more, so that more can
            be shed.
        seed: of order and arrivals.
    """

    latency_target_ms: float | None = None
    excess: float = 1.5
    seconds: float = 60.0
    after: float = 10.0
    concurrency: int = 16
    threshold: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Labelled:
    """The pictures of a trial.

    Attributes:
        encoded: picture files.
        labels: class of each; None where it is not known.
    """

    encoded: Sequence[bytes]
    labels: Sequence[int] | None = None


@dataclass(frozen=True)
class Phase:
    """The outcome of the requests of one phase.

    Attributes:
        request_rate: requests per second, as they were sent.
        sent: requests.
        answered: requests with an answer.
        rejected: the server's error messages -> number of requests.
        lost: requests without any response within a minute.
        escalated: fraction of the answered that big answered.
        shed: fraction of the answered that little answered because big was overloaded.
        p50_ms: median latency of the answered, in milliseconds.
        p99_ms: 99th percentile of it.
        accuracy: fraction of the answered whose label is right; None without labels.
    """

    request_rate: float
    sent: int
    answered: int
    rejected: dict[str, int]
    lost: int
    escalated: float
    shed: float
    p50_ms: float
    p99_ms: float
    accuracy: float | None


@dataclass(frozen=True)
class Outcome:
    """The result of a trial.

    Attributes:
        version: of tritonserver.
        throughput: images per second of the gate without a target.
        little: images per second where little answers all images.
        latency_target_ms: of the overloaded gate.
        shortest_target_ms: the shortest target that full batches of the gate allow.
        calm: every picture once, at a concurrency of 2 and without a target.
        overloaded: during the overload.
        first: the first seconds afterwards.
        later: the seconds after those.
    """

    version: str
    throughput: float
    little: float
    latency_target_ms: float
    shortest_target_ms: float
    calm: Phase
    overloaded: Phase
    first: Phase
    later: Phase


def run(
    repository: Path, pictures: Labelled, trial: Trial, report: Report, tritonserver: Path | None = None
) -> Outcome:
    """Serve the gate, overload it, and record the outcome of every request.

    Args:
        repository: as `littlebig export` writes it.
        pictures: to send.
        trial: the load.
        report: called with one line per phase.
        tritonserver: the binary; None to find one.

    Raises:
        BenchmarkError: with one line that says what was wrong and what to do.
        ServerError: if the server does not start.
    """
    with _served(repository, None, tritonserver) as served:
        version = served.version
        report(f"overload: {len(pictures.encoded)} pictures to canonical images")
        sender = _Sender(images.look_through(served, pictures.encoded), trial)
        report("overload: each picture once, concurrency 2")
        calm = sender.send(served, 600.0, concurrency=2, requests=len(pictures.encoded)).replies
        report(f"overload: throughput of the gate, concurrency {trial.concurrency}")
        throughput = sender.send(served, _CAPACITY_SECONDS, concurrency=trial.concurrency).images_per_second
        report("overload: the same with little alone")
        little = sender.send(served, _CAPACITY_SECONDS, concurrency=trial.concurrency, threshold=0.0).images_per_second
    shortest = shortest_target_ms(most_images_at_once(repository), little)
    target = trial.latency_target_ms or shortest
    with _served(repository, target, tritonserver) as served:
        rate = trial.excess * throughput
        report(f"overload: {rate:.0f} images/s for {trial.seconds:g} s, target {target:g} ms")
        overloaded = sender.send(served, trial.seconds, request_rate=rate, may_fail=True).replies
        report(f"overload: {_NORMAL * throughput:.0f} images/s for {trial.after:g} s")
        after = sender.send(served, trial.after, request_rate=_NORMAL * throughput, may_fail=True).replies
    first = [reply for reply in after if reply.sent < _FIRST_SECONDS]
    later = [reply for reply in after if reply.sent >= _FIRST_SECONDS]
    if min(len(overloaded), len(first), len(later)) < _LEAST:
        raise ImagesError(
            f"only {len(overloaded)} requests were sent during the overload and {len(first)} + {len(later)} after it, "
            "too few for a 99th percentile: give more --overload-seconds or --after"
        )
    phases = (phase(replies, pictures.labels) for replies in (calm, overloaded, first, later))
    return Outcome(version, throughput, little, target, shortest, *phases)


def shortest_target_ms(images_at_once: int, rate: float) -> float:
    """The shortest latency target that full batches of the gate allow while little is overloaded.

    Every instance of the gate then has a full batch at little, whose images may have waited for half the target.

    Args:
        images_at_once: in the largest batches of all instances together.
        rate: images per second of little.

    Returns:
        Milliseconds: twice the time of such batches, rounded up to a hundred.
    """
    return 100.0 * math.ceil(2.0 * images_at_once / rate * 10.0)


@contextmanager
def _served(repository: Path, latency_target_ms: float | None, tritonserver: Path | None) -> Iterator[Served]:
    """The gate as it is, and beside it one with a target if there is a target."""
    with tempfile.TemporaryDirectory(prefix="littlebig-overload-") as name:
        gate, models = Path(name) / "gate", Path(name) / "models"
        models.mkdir()
        variants = {}
        if latency_target_ms is not None:
            write_gate_with_target(repository, gate, latency_target_ms, latency_target_ms / 2)
            variants = {_OVERLOADED: gate}
        with serving(repository, variants, models, tritonserver) as served:
            yield served


class _Sender:
    """Sends the same pictures in the same order to every server."""

    def __init__(self, pictures: Pictures, trial: Trial) -> None:
        order = np.random.default_rng(trial.seed).permutation(len(pictures.canonical))
        self._pictures, self._mix, self._trial = pictures, Mix(order, pictures.unsure[order]), trial

    def send(self, served: Served, seconds: float, **options: Any) -> load.Answers:
        """Send to the gate with the target, where there is one."""
        model = _OVERLOADED if _OVERLOADED in served.models else "little_big"
        settings = {"seed": self._trial.seed, "threshold": self._trial.threshold, **options}
        return load.run(served.endpoint, Load(model, seconds, **settings), self._pictures, self._mix)


def phase(replies: Sequence[Reply], labels: Sequence[int] | None) -> Phase:
    """Summarise the requests of a phase.

    Args:
        replies: at least one.
        labels: class of each picture; None where it is not known.
    """
    answered = [reply for reply in replies if reply.label is not None]
    sent = np.array([reply.sent for reply in replies])
    latencies: npt.NDArray[np.float64] = np.array([reply.ms for reply in answered] or [np.nan])
    right = None if labels is None else [reply.label == labels[reply.picture] for reply in answered]
    return Phase(
        request_rate=(len(replies) - 1) / max(float(np.ptp(sent)), 1e-9),
        sent=len(replies),
        answered=len(answered),
        rejected=dict(Counter(reply.error for reply in replies if reply.error and not reply.lost)),
        lost=sum(reply.lost for reply in replies),
        escalated=_fraction([reply.stage == _STAGE_BIG for reply in answered]),
        shed=_fraction([reply.stage == _STAGE_SHED for reply in answered]),
        p50_ms=float(np.percentile(latencies, 50)),
        p99_ms=float(np.percentile(latencies, 99)),
        accuracy=None if right is None else _fraction(right),
    )


def as_markdown(outcome: Outcome, trial: Trial) -> str:
    """The section of the report."""
    lines = [
        f"The gate answers {outcome.throughput:.1f} images/s (concurrency {trial.concurrency}), "
        f"{outcome.little:.1f} where little answers all. Latency target {outcome.latency_target_ms:g} ms; the gate's "
        "queue rejects requests that have waited for half of it.\n",
        "|  | requests/s | sent | answered | rejected | lost | escalated | shed | p50 ms | p99 ms | x target "
        "| accuracy |",
        "| --- " * 12 + "|",
    ]
    for name, part in (
        ("concurrency 2, no target", outcome.calm),
        (f"{trial.excess:g} times the throughput, {trial.seconds:g} s", outcome.overloaded),
        (f"the {_FIRST_SECONDS:g} s after, half the throughput", outcome.first),
        ("after those", outcome.later),
    ):
        cells = [
            f"{part.request_rate:.0f}",
            *(f"{count:,}" for count in (part.sent, part.answered, sum(part.rejected.values()), part.lost)),
            *(f"{fraction:.1%}" for fraction in (part.escalated, part.shed)),
            *(f"{ms:.0f}" for ms in (part.p50_ms, part.p99_ms)),
            f"{part.p99_ms / outcome.latency_target_ms:.2f}",
            "" if part.accuracy is None else f"{part.accuracy:.3f}",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines.append("")
    if outcome.latency_target_ms < outcome.shortest_target_ms:
        lines.append(
            "* This target is too short for full batches of all the gate's instances here: give at least "
            f"{outcome.shortest_target_ms:g} ms, or the gate a smaller max_batch_size."
        )
    messages = Counter(outcome.overloaded.rejected)
    lines += [f"* rejected, {count:,} times: {message}" for message, count in messages.most_common()]
    return "\n".join(lines) + "\n"


def _fraction(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else float("nan")
