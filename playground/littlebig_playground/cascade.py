"""Asks a served cascade for one picture's answer, and both stages for theirs."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from littlebig_client import Classification, Client, ClientError, InvalidRequest, RequestRejected, ServerFailure, Stage


@dataclass(frozen=True)
class Served:
    """What a cascade is set to.

    Attributes:
        threshold: escalate below this score, in [0, 1].
        score: what is compared with it, `confidence` or `margin`.
        policy: `cascade`, `little` or `big`.
        answer: after big has run, `big` takes its answer, `arbitrate` the surer one.
        offset: of the arbitration, in logits.
        classes: name of each class, by its index.
    """

    threshold: float
    score: str
    policy: str
    answer: str
    offset: float
    classes: tuple[str, ...]


class Cascade:
    """A served cascade. Safe to use from several threads."""

    def __init__(self, client: Client) -> None:
        """Prepare to ask. Nothing is sent yet.

        Args:
            client: a client of the server.
        """
        self._client = client
        self._arbitrates = False

    def served(self) -> Served:
        """Read the settings and the class names.

        Raises:
            ClientError: the server does not answer, or serves no cascade.
        """
        config = self._client.gate_config()
        settings = {name: parameter.string_value for name, parameter in config.parameters.items()}
        try:
            classes = next(output.dims[-1] for output in config.output if output.name == "probabilities")
            shape = next(tuple(tensor.dims) for tensor in config.input if tensor.name == "image")
            threshold = float(settings["threshold"])
        except (KeyError, StopIteration, ValueError) as missing:
            raise ServerFailure("the server's model 'little_big' is not a Little-Big gate", "OK") from missing
        blank = self._client.classify(np.zeros(shape, np.uint8), top_k=classes)
        names = {candidate.label: candidate.name for candidate in blank.top_k}
        self._arbitrates = settings.get("answer") == "arbitrate"
        return Served(
            threshold,
            settings.get("score", "confidence"),
            settings.get("policy", "cascade"),
            settings.get("answer", "big"),
            float(settings.get("offset", 0)),
            tuple(names.get(label, str(label)) for label in range(classes)),
        )

    def ask(self, picture: bytes) -> dict[str, Any]:
        """Ask the cascade as it is served, then whichever stage has not answered yet.

        Args:
            picture: an encoded file.

        Returns:
            `label`, `name` and `stage` of the cascade's answer, the request's `milliseconds`, and the answers `little`
            and `big`: each None where the server lets callers choose no policy.

        Raises:
            ClientError: the picture is refused, or the server fails.
        """
        started = time.perf_counter()
        answer = self._client.classify(picture)
        milliseconds = (time.perf_counter() - started) * 1e3
        return {
            "label": answer.label,
            "name": answer.name,
            "stage": str(answer.stage),
            "milliseconds": round(milliseconds, 1),
            "little": self._answer_of("little", answer, picture),
            "big": self._answer_of("big", answer, picture),
        }

    def _answer_of(self, stage: str, answer: Classification, picture: bytes) -> dict[str, Any] | None:
        answered = "big" if answer.stage is Stage.BIG else "little"
        if answered == stage and not self._arbitrates:
            return _prediction(answer)
        try:
            return _prediction(self._client.classify(picture, policy=stage))
        except RequestRejected:  # the gate's parameter `allow` keeps the policy from callers
            return None


def _prediction(answer: Classification) -> dict[str, Any]:
    first, second = (*(candidate.probability for candidate in answer.top_k[:2]), 0.0, 0.0)[:2]
    return {
        "label": answer.label,
        "name": answer.name,
        "confidence": answer.confidence,
        "margin": first - second,
        "top": [[candidate.name, candidate.probability] for candidate in answer.top_k],
    }


def is_picture_fault(failure: ClientError) -> bool:
    """Whether a failure lies in the picture, so that asking again is useless."""
    return isinstance(failure, RequestRejected | InvalidRequest)
