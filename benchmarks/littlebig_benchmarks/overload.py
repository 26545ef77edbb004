"""More images than the cascade can answer, with a latency target: what becomes of each, and how soon all is well again.

The gate is served twice: as it is, to see what it can do at most and what it answers without haste, then with the
target, to be overloaded. Its queue rejects what has waited for half the target: thresholds can spare big some work, but
not little. The other half is for the batch that the gate takes then, so a target that is too short for a full one is
missed whatever the gate does.
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

from littlebig_benchmarks import images, load, machine
from littlebig_benchmarks.errors import ImagesError
from littlebig_benchmarks.images import Mix, Pictures
from littlebig_benchmarks.load import Load, Reply
from littlebig_benchmarks.serving import Served, most_images_at_once, serving, write_gate_with_target

Tell = Callable[[str], None]
_OVERLOADED = "overloaded"
_SPARED = 3  # the code of `stage` for: little, because big had too much to do
# Seconds of a run that says what the gate or little can do, and the share of the former that is offered afterwards.
_CAPACITY_SECONDS, _NORMAL = 8.0, 0.5
_FIRST_SECONDS = 5.0
# Not to say what a percentile of it is.
_TOO_FEW = 100


@dataclass(frozen=True)
class Trial:
    """What is offered.

    Attributes:
        latency_target_ms: the gate's; None for the shortest that leaves room for its batches here.
        excess: images offered, over what the gate answers at most.
        seconds: for which they are.
        after: seconds of half of what it answers at most, afterwards.
        clients: that find out what it answers at most.
        threshold: that requests ask for; None for the repository's. The higher, the more there is to spare.
        seed: of order and arrivals.
    """

    latency_target_ms: float | None = None
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
        little: the same where little answers all.
        latency_target_ms: that the gate had then.
        room_ms: the shortest target that leaves room for the gate's batches.
        calm: every picture once, without haste and without a target.
        overloaded: while more is offered than can be.
        first: the first seconds afterwards.
        later: the seconds after those.
    """

    machine: dict[str, str]
    capacity: float
    little: float
    latency_target_ms: float
    room_ms: float
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
    with _served(repository, None, tritonserver) as served:
        about = machine.describe(served.version, None)
        tell(f"look at {len(encoded)} pictures")
        asker = _Asker(images.look_through(served, encoded), trial)
        tell("each once, without haste")
        calm = asker.ask(served, 600.0, clients=2, requests=len(encoded)).replies
        tell(f"{trial.clients} clients, to see what it can do")
        capacity = asker.ask(served, _CAPACITY_SECONDS, clients=trial.clients).images_per_second
        tell("the same with little alone")
        little = asker.ask(served, _CAPACITY_SECONDS, clients=trial.clients, threshold=0.0).images_per_second
    room = least_target_ms(most_images_at_once(repository), little)
    target = trial.latency_target_ms or room
    with _served(repository, target, tritonserver) as served:
        rate = trial.excess * capacity
        tell(f"{rate:.0f} images/s for {trial.seconds:g} s, {trial.excess:g} times that; target {target:g} ms")
        overloaded = asker.ask(served, trial.seconds, rate=rate, may_fail=True).replies
        tell(f"{_NORMAL * capacity:.0f} images/s for {trial.after:g} s")
        after = asker.ask(served, trial.after, rate=_NORMAL * capacity, may_fail=True).replies
    first = [reply for reply in after if reply.sent < _FIRST_SECONDS]
    later = [reply for reply in after if reply.sent >= _FIRST_SECONDS]
    if min(len(overloaded), len(first), len(later)) < _TOO_FEW:
        raise ImagesError(
            f"only {len(overloaded)} images were offered and {len(first)} + {len(later)} afterwards, too few for a "
            f"99th percentile: ask for more --seconds or more --after"
        )
    phases = (phase(replies, labels) for replies in (calm, overloaded, first, later))
    return Outcome(about, capacity, little, target, room, *phases)


def least_target_ms(images_at_once: int, rate: float) -> float:
    """The shortest latency target that leaves room for the gate's batches when more is offered than little can answer.

    Every instance of the gate has a full batch with little then, and what is in it may have waited for half the target.

    Args:
        images_at_once: in the largest batches of all instances together.
        rate: images per second of little.

    Returns:
        Milliseconds, twice the time of such batches, rounded up to a hundred.
    """
    return 100.0 * math.ceil(2.0 * images_at_once / rate * 10.0)


@contextmanager
def _served(repository: Path, latency_target_ms: float | None, tritonserver: Path | None) -> Iterator[Served]:
    """The gate as it is, or beside it one with a target."""
    with tempfile.TemporaryDirectory(prefix="littlebig-overload-") as name:
        gate, models = Path(name) / "gate", Path(name) / "models"
        models.mkdir()
        variants = {}
        if latency_target_ms is not None:
            write_gate_with_target(repository, gate, latency_target_ms, latency_target_ms / 2)
            variants = {_OVERLOADED: gate}
        with serving(repository, variants, models, tritonserver) as served:
            yield served


class _Asker:
    """Asks servers about the same pictures in the same order."""

    def __init__(self, pictures: Pictures, trial: Trial) -> None:
        order = np.random.default_rng(trial.seed).permutation(len(pictures.canonical))
        self._pictures, self._mix, self._trial = pictures, Mix(order, pictures.unsure[order]), trial

    def ask(self, served: Served, seconds: float, **how: Any) -> load.Answers:
        """The gate with the target where there is one."""
        model = _OVERLOADED if _OVERLOADED in served.models else "little_big"
        asked = Load(model, seconds, seed=self._trial.seed, **{"threshold": self._trial.threshold, **how})
        return load.run(served.url, asked, self._pictures, self._mix)


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
        f"The gate answers {outcome.capacity:.1f} images/s at most ({trial.clients} clients), {outcome.little:.1f} "
        f"where little answers all. Latency target {outcome.latency_target_ms:g} ms; its queue rejects what has waited "
        "for half of that.\n",
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
            f"{one.p99_ms / outcome.latency_target_ms:.2f}",
            "" if one.accuracy is None else f"{one.accuracy:.3f}",
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    if outcome.latency_target_ms < outcome.room_ms:
        lines += [
            "",
            "* This target leaves no room for full batches of all the gate's instances here; the shortest that does is "
            f"{outcome.room_ms:g} ms. Or give the gate a smaller max_batch_size.",
        ]
    messages = Counter(outcome.overloaded.rejected)
    lines += ["", *(f"* rejected, {count:,} times: {message}" for message, count in messages.most_common())]
    lines += ["", *(f"* {name}: {value}" for name, value in outcome.machine.items()), ""]
    return "\n".join(lines)


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values) if values else float("nan")
