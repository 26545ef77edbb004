"""What is measured, and when a figure is refused. Checked on construction."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from littlebig_benchmarks.errors import ScenarioError

# Without --only; `overload` takes about two minutes more and serves the gate a second time.
DEFAULT_PARTS = ("throughput", "front_door", "gate", "latency", "rates")
PARTS = (*DEFAULT_PARTS, "overload")
# Names that a variant may not take: models of the served repository, and other contenders.
RESERVED = (
    *("little", "big", "little_big", "classify", "preprocess"),
    *("textbook", "in_process", "classify_small", "classify_12mp", "overloaded"),
)


@dataclass(frozen=True)
class Stability:
    """When a figure is refused because the machine was not stable.

    Attributes:
        spread: largest width of the interval of a figure's median, over that median.
        other_load: largest fraction of the machine's CPU time that other processes may use during a run.
    """

    spread: float = 0.25
    other_load: float = 0.10


@dataclass(frozen=True)
class Scenario:
    """The settings of a benchmark.

    Attributes:
        parts: which measurements, of `PARTS`.
        rounds: how often each contender is measured, in turns with the others.
        seconds: aimed length of one run of one contender.
        escalations: wanted fractions of images that little is unsure of.
        concurrency: requests in flight, for throughput; the last one is that of latency and the front door.
        gate_concurrency: the same for the gate alone; the last one fills the batches of both its instances.
        request_rates: for the part `rates`, as fractions of the bound at the first escalation.
        variants: name -> folder of another gate (config.pbtxt and 1/), served and measured beside `little_big`.
        seed: of crops and of the order of images.
        stability: when a figure is refused.

    Raises:
        ScenarioError: for a value that is out of range.
    """

    parts: tuple[str, ...] = DEFAULT_PARTS
    rounds: int = 5
    seconds: float = 3.5
    escalations: tuple[float, ...] = (0.15, 0.35)
    concurrency: tuple[int, ...] = (16,)
    gate_concurrency: tuple[int, ...] = (32, 64)
    request_rates: tuple[float, ...] = (0.4, 0.7, 0.9)
    variants: dict[str, Path] = field(default_factory=dict)
    seed: int = 0
    stability: Stability = field(default_factory=Stability)

    def __post_init__(self) -> None:
        """Check parts, escalations and variants."""
        for part in self.parts:
            if part not in PARTS:
                raise ScenarioError(f"there is no measurement '{part}': choose of {', '.join(PARTS)}")
        for escalation in self.escalations:
            if not 0 < escalation < 1:
                raise ScenarioError(f"escalation {escalation:g} is out of range: give a fraction such as 0.15")
        for name, folder in self.variants.items():
            if name in RESERVED or not name.replace("_", "").isalnum():
                raise ScenarioError(
                    f"a variant cannot be called '{name}': choose letters, digits and _, not a model's name"
                )
            if not (folder / "config.pbtxt").is_file() or not (folder / "1" / "model.py").is_file():
                raise ScenarioError(
                    f"variant '{name}': '{folder}' has no config.pbtxt and 1/model.py; give a gate's folder"
                )
