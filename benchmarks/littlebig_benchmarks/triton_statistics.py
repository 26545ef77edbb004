"""What Triton counted during a run: its own statistics, as a difference of two readings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tritonclient.grpc


@dataclass(frozen=True)
class Counted:
    """One model's counters, since the server started or between two readings.

    Attributes:
        images: inferences.
        requests: that brought them; one call of a gate brings many images.
        batches: executions.
        queue_ns: time that requests waited, added up over requests.
        compute_ns: time that the backend computed, added up over executions.
    """

    images: int = 0
    requests: int = 0
    batches: int = 0
    queue_ns: int = 0
    compute_ns: int = 0

    def since(self, before: Counted) -> Counted:
        """What came on top of an earlier reading."""
        return Counted(
            self.images - before.images,
            self.requests - before.requests,
            self.batches - before.batches,
            self.queue_ns - before.queue_ns,
            self.compute_ns - before.compute_ns,
        )

    @property
    def batch(self) -> float:
        """Images per execution."""
        return self.images / self.batches if self.batches else 0.0

    @property
    def queue_ms(self) -> float:
        """Mean time in the queue, per request."""
        return self.queue_ns / self.requests / 1e6 if self.requests else 0.0

    @property
    def compute_ms(self) -> float:
        """Mean time of one execution."""
        return self.compute_ns / self.batches / 1e6 if self.batches else 0.0


def read(client: tritonclient.grpc.InferenceServerClient) -> dict[str, Counted]:
    """All models' counters now."""
    return counters(client.get_inference_statistics())


def counters(answer: Any) -> dict[str, Counted]:
    """Model -> counters, from Triton's answer; versions of a model are added up."""
    found: dict[str, Counted] = {}
    for model in answer.model_stats:
        one = found.get(model.name, Counted())
        found[model.name] = Counted(
            one.images + model.inference_count,
            one.requests + model.inference_stats.queue.count,
            one.batches + model.execution_count,
            one.queue_ns + model.inference_stats.queue.ns,
            # Its own sum counts an execution once for each of its requests.
            one.compute_ns + sum(size.compute_infer.ns for size in model.batch_stats),
        )
    return found


def differences(before: dict[str, Counted], after: dict[str, Counted]) -> dict[str, Counted]:
    """What each model did between two readings."""
    return {name: counted.since(before.get(name, Counted())) for name, counted in after.items()}
