"""The server's answers as values of this package."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from numpy.typing import NDArray

from littlebig_client._errors import ServerFailure


class Stage(str, Enum):
    """The model that answered. Each member equals its text: `answer.stage == "big"` works."""

    LITTLE = "little"
    BIG = "big"
    LITTLE_BIG_FAILED = "little (big failed)"
    LITTLE_OVERLOADED = "little (big overloaded)"

    def __str__(self) -> str:
        """Return the text, on every Python version."""
        return self.value


# The `stage` tensor's codes.
_STAGES = {0: Stage.LITTLE, 1: Stage.BIG, 2: Stage.LITTLE_BIG_FAILED, 3: Stage.LITTLE_OVERLOADED}


@dataclass(frozen=True)
class Candidate:
    """One of the k most probable classes.

    Attributes:
        label: index of the class.
        name: name of the class, or its index as text if the server has no names.
        probability: softmax probability in [0, 1].
    """

    label: int
    name: str
    probability: float


@dataclass(frozen=True)
class Classification:
    """The answer to one image.

    Attributes:
        label: index of the most probable class.
        name: its name.
        confidence: its softmax probability in [0, 1].
        stage: the model that answered. `Stage.LITTLE_BIG_FAILED`: the image was unsure and big failed or was too
            late. `Stage.LITTLE_OVERLOADED`: the image was unsure and big was overloaded. Both give little's answer.
        top_k: the most probable classes, most probable first.
    """

    label: int
    name: str
    confidence: float
    stage: Stage
    top_k: tuple[Candidate, ...]


def read_answer(result: Any) -> Classification:
    """Read the answer to a request of one image.

    Args:
        result: tritonclient's InferResult with `label` INT32 [1,1], `confidence` FP32 [1,1], `stage` INT32
            [1,1] and `probabilities` BYTES [1,k] of "probability:index:name".

    Raises:
        ServerFailure: the answer has another form, so another model produced it.
    """
    try:
        label = int(_scalar(result, "label"))
        stage = _stage(int(_scalar(result, "stage")))
        confidence = float(_scalar(result, "confidence"))
        top_k = tuple(_candidate(text) for text in result.as_numpy("probabilities").reshape(-1))
    except (AttributeError, TypeError, ValueError) as unreadable:
        raise ServerFailure(
            f"the server's answer is not that of a Little-Big model ({unreadable}): "
            "were this client and the model repository made by the same version?",
            status="OK",
        ) from unreadable
    # Look the name up by label: equal probabilities leave the order of candidates open.
    name = next((candidate.name for candidate in top_k if candidate.label == label), str(label))
    return Classification(label, name, confidence, stage, top_k)


def _scalar(result: Any, output: str) -> Any:
    values: NDArray[Any] | None = result.as_numpy(output)
    if values is None or values.size != 1:
        raise ValueError(f"output '{output}' is missing or is not a single value")
    return values.reshape(-1)[0]


def _stage(code: int) -> Stage:
    if code not in _STAGES:
        raise ValueError(f"unknown stage {code}")
    return _STAGES[code]


def _candidate(text: bytes) -> Candidate:
    # The name may contain colons; it is absent if the model has no label_filename.
    probability, label, *name = text.decode("utf-8", "replace").split(":", 2)
    return Candidate(int(label), name[0] if name else label, float(probability))
