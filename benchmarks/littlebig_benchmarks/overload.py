"""More images than the cascade can answer, with a latency target: what becomes of each, and how soon all is well again.

The gate is served twice over the same stages: as it is, to see what it can do at most and what it answers without
haste, and with the target, to be overloaded. Its queue rejects what has waited for half the target: thresholds can
spare big some work, but not little.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from littlebig_benchmarks import images, load, machine
from littlebig_benchmarks.errors import ImagesError
from littlebig_benchmarks.images import Mix, Pictures
from littlebig_benchmarks.load import Load, Reply
from littlebig_benchmarks.serving import Served, serving, write_gate_with_target

Tell = Callable[[str], None]
_OVERLOADED = "overloaded"
_SPARED = 3  # the code of `stage` for: little, because big had too much to do
# Seconds of the run that says what the gate can do, and the share of it that is offered afterwards.
_CAPACITY_SECONDS, _NORMAL = 8.0, 0.5
_FIRST_SECONDS = 5.0
# Not to say what a percentile of it is.
_TOO_FEW = 100


@dataclass(frozen=True)
class Trial:
    """What is offered.

    Attributes:
        latency_target_ms: the gate's.
        excess: images offered, over what the gate answers at most.
        seconds: for which they are.
        after: seconds of half of what it answers at most, afterwards.
        clients: that find out what it answers at most.
        threshold: that requests ask for; None for the repository's. The higher, the more there is to spare.
        seed: of order and arrivals.
    """

    latency_target_ms: float = 600.0
    excess: float = 1.5
    seconds: float = 60.0
    after: float = 10.0
    clients: int = 16
    threshold: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Phase:
    """What became of the images offered in one phase.

    Attributes:
        offered: images per second, as they were really sent.
        sent: requests.
        answered: those answered.
        rejected: the server's messages -> how many; clear refusals.
        lost: those with neither answer nor error within a minute.
        escalated: share of the answered that big answered.
        spared: share of the answered that little answered because big had too much to do.
        p50_ms: of the answered, milliseconds.
        p99_ms: likewise.
        accuracy: share of the answered whose label is right; None where no labels are known.
    """

    offered: float
    sent: int
    answered: int
    rejected: dict[str, int]
    lost: int
    escalated: float
    spared: float
    p50_ms: float
    p99_ms: float
    accuracy: float | None


@dataclass(frozen=True)
class Outcome:
    """The whole trial.

    Attributes:
        machine: and versions.
        capacity: images per second that the gate answers at most, without a target.
        calm: every picture once, without haste and without a target.
        overloaded: while more is offered than can be.
        first: the first seconds afterwards.
        later: the seconds after those.
    """

    machine: dict[str, str]
    capacity: float
    calm: Phase
    overloaded: Phase
    first: Phase
    later: Phase


def run(
    repository: Path,
    encoded: Sequence[bytes],
    labels: Sequence[int] | None,
    trial: Trial,
    tell: Tell,
    tritonserver: Path | None = None,
) -> Outcome:
    """Serve, overload and look.

    Args:
        repository: as `littlebig export` writes it.
        encoded: pictures as files.
        labels: what they show; None where that is not known.
        trial: what is offered.
        tell: called with one line per phase.
        tritonserver: the binary; None to find one.

    Raises:
        BenchmarkError: with one line that says what was wrong and what to do.
        ServerError: if the server does not start.
    """
    with tempfile.TemporaryDirectory(prefix="littlebig-overload-") as name:
        gate, models = Path(name) / "gate", Path(name) / "models"
        models.mkdir()
        write_gate_with_target(repository, gate, trial.latency_target_ms, trial.latency_target_ms / 2)
        with serving(repository, {_OVERLOADED: gate}, models, tritonserver) as served:
            tell(f"look at {len(encoded)} pictures")
            pictures = images.look_through(served, encoded)
            return _offer(served, pictures, labels, trial, tell)


def _offer(served: Served, pictures: Pictures, labels: Sequence[int] | None, trial: Trial, tell: Tell) -> Outcome:
    order = np.random.default_rng(trial.seed).permutation(len(pictures.canonical))
    mix = Mix(order, pictures.unsure[order])

    def ask(model: str, seconds: float, **how: Any) -> load.Answers:
        asked = Load(model, seconds, seed=trial.seed, threshold=trial.threshold, **how)
        return load.run(served.url, asked, pictures, mix)

    def seen(replies: Sequence[Reply]) -> Phase:
        return phase(replies, labels)

    about = machine.describe(served.version, None)
    tell("each once, without haste")
    calm = ask("little_big", 600.0, clients=2, requests=len(order)).replies
    tell(f"{trial.clients} clients, to see what it can do")
    capacity = ask("little_big", _CAPACITY_SECONDS, clients=trial.clients).images_per_second
    rate = trial.excess * capacity
    tell(f"{rate:.0f} images/s for {trial.seconds:g} s, {trial.excess:g} times that")
    overloaded = ask(_OVERLOADED, trial.seconds, rate=rate, may_fail=True).replies
    tell(f"{_NORMAL * capacity:.0f} images/s for {trial.after:g} s")
    after = ask(_OVERLOADED, trial.after, rate=_NORMAL * capacity, may_fail=True).replies
    first = [reply for reply in after if reply.sent < _FIRST_SECONDS]
    later = [reply for reply in after if reply.sent >= _FIRST_SECONDS]
    if min(len(overloaded), len(first), len(later)) < _TOO_FEW:
        raise ImagesError(
            f"only {len(overloaded)} images were offered and {len(first)} + {len(later)} afterwards, too few for a "
            f"99th percentile: ask for more --seconds or more --after"
        )
    return Outcome(about, capacity, *map(seen, (calm, overloaded, first, later)))


def phase(replies: Sequence[Reply], labels: Sequence[int] | None) -> Phase:
    """What became of some requests.

    Args:
        replies: at least one.
        labels: class of each picture; None where that is not known.
    """
    answered = [reply for reply in replies if reply.label is not None]
    sent = np.array([reply.sent for reply in replies])
    took: npt.NDArray[np.float64] = np.array([reply.ms for reply in answered] or [np.nan])
    right = None if labels is None else [reply.label == labels[reply.picture] for reply in answered]
    return Phase(
        offered=(len(replies) - 1) / max(float(np.ptp(sent)), 1e-9),
        sent=len(replies),
        answered=len(answered),
        rejected=dict(Counter(reply.error for reply in replies if reply.error and not reply.lost)),
        lost=sum(reply.lost for reply in replies),
        escalated=_share([reply.stage == 1 for reply in answered]),
        spared=_share([reply.stage == _SPARED for reply in answered]),
        p50_ms=float(np.percentile(took, 50)),
        p99_ms=float(np.percentile(took, 99)),
        accuracy=None if right is None else _share(right),
    )


def as_markdown(outcome: Outcome, trial: Trial, command: str) -> str:
    """The table that a reader wants."""
    lines = [
        "# Overload\n",
        f"`{command}`\n",
        f"The gate answers {outcome.capacity:.1f} images/s at most ({trial.clients} clients). Latency target "
        f"{trial.latency_target_ms:g} ms; its queue rejects what has waited for half of that.\n",
        "|  | images/s offered | sent | answered | rejected | lost | escalated | spared | p50 ms | p99 ms | x target "
        "| accuracy |",
        "| --- " * 12 + "|",
    ]
    for name, one in (
        ("without haste, no target", outcome.calm),
        (f"{trial.excess:g} times the most, {trial.seconds:g} s", outcome.overloaded),
        (f"the {_FIRST_SECONDS:g} s after, half the most", outcome.first),
        ("after those", outcome.later),
    ):
        cells = [
            f"{one.offered:.0f}",
            *(f"{count:,}" for count in (one.sent, one.answered, sum(one.rejected.values()), one.lost)),
            *(f"{share:.1%}" for share in (one.escalated, one.spared)),
            *(f"{ms:.0f}" for ms in (one.p50_ms, one.p99_ms)),
            f"{one.p99_ms / trial.latency_target_ms:.2f}",
            "" if one.accuracy is None else f"{one.accuracy:.3f}",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    messages = Counter(outcome.overloaded.rejected)
    lines += ["", *(f"* rejected, {count:,} times: {message}" for message, count in messages.most_common())]
    lines += ["", *(f"* {name}: {value}" for name, value in outcome.machine.items()), ""]
    return "\n".join(lines)


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else float("nan")
