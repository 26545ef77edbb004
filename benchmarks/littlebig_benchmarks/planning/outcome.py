"""What came of a simulation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]
# The first requests meet empty queues and are left out.
_WARM_UP = 0.1
# Stretches of a run whose percentiles are compared for a standard error.
_STRETCHES = 10


@dataclass(frozen=True)
class Percentile:
    """A percentile with its standard error, both in milliseconds."""

    ms: float
    error_ms: float


@dataclass(frozen=True)
class Outcome:
    """One replica's run, every request answered.

    Attributes:
        sent: when each image was sent, ascending seconds [images].
        answered: when it was answered, seconds [images].
        unsure: whether little was unsure of it, boolean [images].
        mean_in_system: images sent and not yet answered, averaged over time from 0 to the last answer.
        busy: share of the device's capacity that was used until the last request was sent.
        batch: model -> mean images per batch.
        decided: seconds from a request's arrival at the gate until little has answered, the mean of all images; not a
            number where no gate was asked.
    """

    sent: Seconds
    answered: Seconds
    unsure: npt.NDArray[np.bool_]
    mean_in_system: float
    busy: float
    batch: Mapping[str, float]
    decided: float = float("nan")

    @property
    def latencies(self) -> Seconds:
        """Seconds from sent to answered, in the order of sending, without the warm-up."""
        return (self.answered - self.sent)[self._warm :]

    @property
    def images_per_second(self) -> float:
        """Answers over time, from the end of the warm-up until the last request was sent."""
        first, last = self.sent[self._warm], self.sent[-1]
        answers = int(((self.answered > first) & (self.answered <= last)).sum())
        return answers / float(last - first)

    @property
    def offered_per_second(self) -> float:
        """Images sent over time, between the same two moments."""
        sent = self.sent[self._warm :]
        return (len(sent) - 1) / float(sent[-1] - sent[0])

    def percentile(self, share: float, unsure: bool | None = None) -> float:
        """Milliseconds within which a share of the images is answered.

        Args:
            share: percent.
            unsure: of the unsure or the sure images alone; None for all.

        Returns:
            Milliseconds; not a number where there is no such image.
        """
        latencies = self.latencies
        if unsure is not None:
            latencies = latencies[self.unsure[self._warm :] == unsure]
        return float(np.percentile(latencies, share)) * 1e3 if len(latencies) else float("nan")

    def with_error(self, share: float) -> Percentile:
        """A percentile over all images, with the standard error that stretches of the run suggest."""
        each = [np.percentile(stretch, share) for stretch in np.array_split(self.latencies, _STRETCHES)]
        return Percentile(self.percentile(share), float(np.std(each, ddof=1) / np.sqrt(_STRETCHES)) * 1e3)

    @property
    def _warm(self) -> int:
        return int(len(self.sent) * _WARM_UP)
