"""What is measured, and what counts as a stable machine; checked when it is chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from littlebig_benchmarks.errors import ScenarioError

PARTS = ("throughput", "gate", "latency", "rates")
# Names that a variant may not take: they are models of the served repository.
RESERVED = ("little", "big", "little_big", "classify", "preprocess", "textbook", "in_process")


@dataclass(frozen=True)
class Stability:
    """When a figure is not printed because the machine was not stable while it was taken.

    Attributes:
        spread: largest width of the interval of a figure's median, over that median.
        other_load: largest share of the machine's CPU time that processes other than ours used in a run.
    """

    spread: float = 0.25
    other_load: float = 0.10


@dataclass(frozen=True)
class Scenario:
    """Everything that makes one benchmark differ from another.

    Attributes:
        parts: which measurements, of `PARTS`.
        rounds: how often each contender is measured, in turns with the others.
        seconds: aimed length of one run of one contender.
        escalations: wanted fractions of images that little is unsure of.
        concurrency: clients that ask one image after another, for throughput.
        gate_clients: the same for the gate alone; the last one fills the batches of both its instances.
        offered: request rates for latency against offered rate, as fractions of the bound at the first escalation.
        variants: name -> folder of another gate (config.pbtxt and 1/), served and measured beside `little_big`.
        seed: of everything random: crops, order of images.
        stability: when a figure is refused.

    Raises:
        ScenarioError: for a value that cannot be.
    """

    parts: tuple[str, ...] = PARTS
    rounds: int = 5
    seconds: float = 3.5
    escalations: tuple[float, ...] = (0.15, 0.35)
    concurrency: tuple[int, ...] = (16,)
    gate_clients: tuple[int, ...] = (32, 64)
    offered: tuple[float, ...] = (0.4, 0.7, 0.9)
    variants: dict[str, Path] = field(default_factory=dict)
    seed: int = 0
    stability: Stability = field(default_factory=Stability)

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for part in self.parts:
            if part not in PARTS:
                raise ScenarioError(f"there is no measurement '{part}': choose of {', '.join(PARTS)}")
        for rate in self.escalations:
            if not 0 < rate < 1:
                raise ScenarioError(f"escalation {rate:g} cannot be: choose a fraction between 0 and 1, such as 0.15")
        for name, folder in self.variants.items():
            if name in RESERVED or not name.replace("_", "").isalnum():
                raise ScenarioError(
                    f"a variant cannot be called '{name}': choose letters, digits and _, not a model's name"
                )
            if not (folder / "config.pbtxt").is_file() or not (folder / "1" / "model.py").is_file():
                raise ScenarioError(
                    f"variant '{name}': '{folder}' has no config.pbtxt and 1/model.py; give a gate's folder"
                )
