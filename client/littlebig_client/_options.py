"""What a caller may choose per request, checked before anything is sent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real

from littlebig_client._errors import InvalidRequest

POLICIES = ("cascade", "little", "big")


@dataclass(frozen=True)
class Options:
    """The choices of one request.

    Attributes:
        top_k: how many candidates to answer with, at least 1.
        threshold: escalate below this score, in [0, 1]; None for the served threshold.
        policy: one of POLICIES; None for the served policy.
        within: seconds after which the server is to answer with what it has; None for no such limit.
    """

    top_k: int = 5
    threshold: float | None = None
    policy: str | None = None
    within: float | None = None

    def __post_init__(self) -> None:
        """Refuse what the server would refuse, in the caller's own words.

        Raises:
            InvalidRequest: naming the option, what was given and what is possible.
        """
        if not _is_count(self.top_k):
            raise InvalidRequest(f"top_k must be a whole number of at least 1, not {self.top_k!r}")
        if self.threshold is not None and not _is_fraction(self.threshold):
            raise InvalidRequest(f"threshold must be a number from 0 to 1, not {self.threshold!r}")
        if self.policy is not None and self.policy not in POLICIES:
            raise InvalidRequest(f"policy must be one of {', '.join(POLICIES)}, not {self.policy!r}")
        if self.within is not None:
            check_seconds("within", self.within)

    def parameters(self) -> dict[str, float | str]:
        """The request parameters of the KServe v2 protocol; only those that were chosen."""
        chosen: dict[str, float | str] = {}
        if self.threshold is not None:
            chosen["threshold"] = float(self.threshold)  # 0 and 1 too: an int would travel as another type
        if self.policy is not None:
            chosen["policy"] = self.policy
        return chosen

    def timeout_us(self) -> int | None:
        """The timeout of Triton's protocol: whole microseconds, at least one, for 0 would be none."""
        return None if self.within is None else max(round(self.within * 1e6), 1)


def check_seconds(name: str, seconds: float, *, or_none_at_all: bool = False) -> float:
    """A duration in seconds that is a finite number above 0, or where it may be, 0.

    Raises:
        InvalidRequest: naming the argument.
    """
    if not _is_number(seconds) or not math.isfinite(seconds) or seconds < 0 or (seconds == 0 and not or_none_at_all):
        least = "0 or above" if or_none_at_all else "above 0"
        raise InvalidRequest(f"{name} must be a finite number of seconds {least}, not {seconds!r}")
    return float(seconds)


def check_concurrency(concurrency: int) -> int:
    """A number of requests in flight, at least 1.

    Raises:
        InvalidRequest: saying what was given.
    """
    if not _is_count(concurrency):
        raise InvalidRequest(f"concurrency must be a whole number of at least 1, not {concurrency!r}")
    return int(concurrency)


def check_url(url: str) -> str:
    """A gRPC target such as localhost:8001.

    Raises:
        InvalidRequest: if it is empty or an HTTP address, which gRPC would report as a failed DNS look-up.
    """
    if not url or url.startswith(("http://", "https://")):
        raise InvalidRequest(f"url must be host:port of Triton's gRPC endpoint, such as localhost:8001, not {url!r}")
    return url


def _is_count(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= 1


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real)


def _is_fraction(value: float) -> bool:
    return _is_number(value) and 0 <= value <= 1  # False for NaN
