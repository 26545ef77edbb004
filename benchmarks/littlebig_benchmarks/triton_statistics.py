"""Triton's own statistics of a run, as a difference of two readings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tritonclient.grpc


@dataclass(frozen=True)
class Counted:
    """One model's counters, since the server started or between two readings.

    Attributes:
        images: inferences.
        requests: that held them; one call of a gate holds many images.
        batches: executions.
        queue_ns: time in the queue, summed over requests.
        compute_ns: time of computation, summed over executions.
    """

    images: int = 0
    requests: int = 0
    batches: int = 0
    queue_ns: int = 0
    compute_ns: int = 0

    def since(self, before: Counted) -> Counted:
        """The difference to an earlier reading."""
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
    """Model -> counters, from Triton's response; the versions of a model are summed."""
    result: dict[str, Counted] = {}
    for model in answer.model_stats:
        so_far = result.get(model.name, Counted())
        result[model.name] = Counted(
            so_far.images + model.inference_count,
            so_far.requests + model.inference_stats.queue.count,
            so_far.batches + model.execution_count,
            so_far.queue_ns + model.inference_stats.queue.ns,
            # Triton's own sum counts an execution once for each of its requests.
            so_far.compute_ns + sum(size.compute_infer.ns for size in model.batch_stats),
        )
    return result


def differences(before: dict[str, Counted], after: dict[str, Counted]) -> dict[str, Counted]:
    """The counters of each model between two readings."""
    return {name: counted.since(before.get(name, Counted())) for name, counted in after.items()}
