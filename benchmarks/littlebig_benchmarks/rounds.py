"""The contenders take turns, so that all of them meet the same machine, and none always goes first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Measures = Mapping[str, float]


@dataclass(frozen=True)
class Case:
    """One thing that is measured once per round.

    Attributes:
        contender: the model, baseline or input that is measured.
        escalation: wanted fraction of unsure images; None where it makes no difference.
        concurrency: requests in flight; 0 with a request rate.
        request_rate: requests per second, arriving as a Poisson process; None with a concurrency.
        own_load: whether our own load generator sends the requests, instead of perf_analyzer.
    """

    contender: str
    escalation: float | None = None
    concurrency: int = 0
    request_rate: float | None = None
    own_load: bool = False

    def __str__(self) -> str:
        """As it is printed."""
        words = [self.contender]
        if self.concurrency:
            words.append(f"concurrency {self.concurrency}")
        if self.request_rate is not None:
            words.append(f"{self.request_rate:.0f}/s")
        if self.escalation is not None:
            words.append(f"{self.escalation:.0%} escalated")
        return ", ".join(words)


def order_of(cases: Sequence[Case], number: int) -> list[Case]:
    """The order in round `number` (0, 1, ...): every second one reversed, and rotated by one for every two rounds."""
    start = number // 2 % len(cases)
    rotated = [*cases[start:], *cases[:start]]
    return rotated[::-1] if number % 2 else rotated


def interleaved(
    cases: Sequence[Case],
    rounds: int,
    measure: Callable[[Case], Measures],
    report: Callable[[str], None],
    results: dict[Case, list[Measures]],
) -> None:
    """Measure each case once per round.

    Args:
        cases: what to measure.
        rounds: how often.
        measure: runs one case.
        report: called with one line per run.
        results: filled in: case -> one entry per round. A round is added when it is complete, so an early end leaves
            only rounds that can be compared.
    """
    for number in range(rounds):
        complete: dict[Case, Measures] = {}
        for case in order_of(cases, number):
            complete[case] = measure(case)
            report(f"round {number + 1}/{rounds}: {case}: {complete[case]['images_per_second']:.1f} images/s")
        for case in cases:
            results.setdefault(case, []).append(complete[case])
