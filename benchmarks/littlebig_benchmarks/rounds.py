"""The contenders take turns, so that all of them meet the same machine, and no one always goes first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Measures = Mapping[str, float]


@dataclass(frozen=True)
class Case:
    """One thing that is measured once per round.

    Attributes:
        contender: who is asked.
        escalation: wanted share of unsure images; None where it makes no difference.
        clients: that ask one image after another; 0 where a rate is offered.
        rate: requests per second that are offered; None where clients ask.
        apart: whether sure and unsure images are timed apart, by our own load instead of perf_analyzer.
    """

    contender: str
    escalation: float | None = None
    clients: int = 0
    rate: float | None = None
    apart: bool = False

    def __str__(self) -> str:
        """As it is told while it is measured."""
        words = [self.contender]
        if self.clients:
            words.append(f"{self.clients} client{'s' if self.clients > 1 else ''}")
        if self.rate is not None:
            words.append(f"{self.rate:.0f}/s")
        if self.escalation is not None:
            words.append(f"{self.escalation:.0%} escalated")
        return ", ".join(words)


def order_of(cases: Sequence[Case], number: int) -> list[Case]:
    """The order in round `number` (0, 1, ...): every other one reversed, and turned by one for each two."""
    start = number // 2 % len(cases)
    turned = [*cases[start:], *cases[:start]]
    return turned[::-1] if number % 2 else turned


def interleaved(
    cases: Sequence[Case],
    rounds: int,
    measure: Callable[[Case], Measures],
    tell: Callable[[str], None],
    found: dict[Case, list[Measures]],
) -> None:
    """Measure each case once per round.

    Args:
        cases: what to measure.
        rounds: how often.
        measure: runs one case.
        tell: called with one line per run.
        found: filled in, case -> one entry per round in the order of the rounds. A round is added when it is complete,
            so that whatever ends the measurement early leaves nothing that cannot be compared.
    """
    for number in range(rounds):
        complete: dict[Case, Measures] = {}
        for case in order_of(cases, number):
            complete[case] = measure(case)
            tell(f"round {number + 1}/{rounds}: {case}: {complete[case]['images_per_second']:.1f} images/s")
        for case in cases:
            found.setdefault(case, []).append(complete[case])
