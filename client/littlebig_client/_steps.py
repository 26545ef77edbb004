"""What the client's logic asks its surroundings to do, so that one logic serves threads and asyncio.

The logic is written as generators: each yields a step and gets its outcome, a value or an exception. `Client` performs
the steps in the caller's thread, `AsyncClient` in its event loop.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Call:
    """A call of Triton.

    Attributes:
        method: of tritonclient's InferenceServerClient.
        arguments: its positional arguments.
        settings: its keyword arguments.
        limit_s: seconds until it fails with DEADLINE_EXCEEDED.
    """

    method: str
    limit_s: float
    arguments: tuple[Any, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pause:
    """Wait for a number of seconds; may end early if the client is closed."""

    seconds: float


@dataclass(frozen=True)
class Blocking:
    """Work that reads a file or computes, and so must not run in an event loop."""

    work: Callable[[], Any]


Step = Call | Pause | Blocking
Steps = Generator[Step, Any, T]
