"""Options of a client and of a request, checked before anything is sent."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from littlebig_client._connection import check_metadata
from littlebig_client._errors import InvalidRequest

POLICIES = ("cascade", "little", "big")


@dataclass(frozen=True)
class Options:
    """Options of one request.

    Attributes:
        top_k: number of candidates to return, at least 1.
        threshold: escalate below this score, in [0, 1]; None for the served threshold.
        policy: one of POLICIES; None for the served policy.
        within: seconds after which the server answers with what it has; None for no limit.
        metadata: gRPC metadata of this request, beside the client's own.
    """

    top_k: int = 5
    threshold: float | None = None
    policy: str | None = None
    within: float | None = None
    metadata: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        """Check every option.

        Raises:
            InvalidRequest: names the option, its value and the allowed values.
        """
        if not _is_count(self.top_k):
            raise InvalidRequest(f"top_k must be a whole number of at least 1, not {self.top_k!r}")
        if self.threshold is not None and not _is_fraction(self.threshold):
            raise InvalidRequest(f"threshold must be a number from 0 to 1, not {self.threshold!r}")
        if self.policy is not None and self.policy not in POLICIES:
            raise InvalidRequest(f"policy must be one of {', '.join(POLICIES)}, not {self.policy!r}")
        if self.within is not None:
            check_seconds("within", self.within)
        if self.metadata is not None:
            check_metadata(self.metadata)

    def settings(self) -> dict[str, Any]:
        """Keyword arguments of tritonclient's `infer`."""
        settings: dict[str, Any] = {"parameters": self.parameters(), "timeout": self.timeout_us()}
        if self.metadata:
            settings["headers"] = dict(self.metadata)
        return settings

    def parameters(self) -> dict[str, float | str]:
        """The KServe v2 request parameters; options left at None are absent."""
        parameters: dict[str, float | str] = {}
        if self.threshold is not None:
            parameters["threshold"] = float(self.threshold)  # an int would be sent as int64_param
        if self.policy is not None:
            parameters["policy"] = self.policy
        return parameters

    def timeout_us(self) -> int | None:
        """Triton's `timeout` parameter in microseconds. At least 1, because 0 means no timeout."""
        return None if self.within is None else max(round(self.within * 1e6), 1)


def check_seconds(name: str, seconds: float, *, allow_zero: bool = False) -> float:
    """Check a duration: a finite number of seconds above 0, or 0 where `allow_zero` is set.

    Raises:
        InvalidRequest: names the argument and its value.
    """
    if not _is_number(seconds) or not math.isfinite(seconds) or seconds < 0 or (seconds == 0 and not allow_zero):
        minimum = "0 or above" if allow_zero else "above 0"
        raise InvalidRequest(f"{name} must be a finite number of seconds {minimum}, not {seconds!r}")
    return float(seconds)


def check_concurrency(concurrency: int) -> int:
    """Check a number of requests in flight: a whole number of at least 1.

    Raises:
        InvalidRequest: names the value.
    """
    if not _is_count(concurrency):
        raise InvalidRequest(f"concurrency must be a whole number of at least 1, not {concurrency!r}")
    return int(concurrency)


def _is_count(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= 1


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Real)


def _is_fraction(value: float) -> bool:
    return _is_number(value) and 0 <= value <= 1  # False for NaN
