"""The server's answers as values of this package."""

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


def read_answers(result: Any, count: int) -> list[Classification]:
    """Read the answer to a request of `count` images.

    Args:
        result: tritonclient's InferResult with `label` INT32 [count,1], `confidence` FP32 [count,1], `stage` INT32
            [count,1] and `probabilities` BYTES [count,k] of "probability:index:name".
        count: number of images in the request.

    Raises:
        ServerFailure: the answer has another form, so another model produced it.
    """
    try:
        labels, confidences, stages = (_column(result, name, count) for name in ("label", "confidence", "stage"))
        candidates = result.as_numpy("probabilities").reshape(count, -1)
        return [_answer(*row) for row in zip(labels, confidences, stages, candidates, strict=True)]
    except (AttributeError, TypeError, ValueError) as unreadable:
        raise ServerFailure(
            f"the server's answer is not that of a Little-Big model ({unreadable}): "
            "were this client and the model repository made by the same version?",
            status="OK",
        ) from unreadable


def _answer(label: int, confidence: float, stage: int, texts: NDArray[Any]) -> Classification:
    top_k = tuple(_candidate(text) for text in texts)
    # Look the name up by label: equal probabilities leave the order of candidates open.
    name = next((candidate.name for candidate in top_k if candidate.label == label), str(label))
    return Classification(label, name, confidence, _stage(stage), top_k)


def _column(result: Any, output: str, count: int) -> list[Any]:
    values: NDArray[Any] | None = result.as_numpy(output)
    if values is None or values.size != count:
        raise ValueError(f"output '{output}' is missing or is not one value for each image")
    return list(values.reshape(-1).tolist())


def _stage(code: int) -> Stage:
    if code not in _STAGES:
        raise ValueError(f"unknown stage {code}")
    return _STAGES[code]


def _candidate(text: bytes) -> Candidate:
    # The name may contain colons; it is absent if the model has no label_filename.
    probability, label, *name = text.decode("utf-8", "replace").split(":", 2)
    return Candidate(int(label), name[0] if name else label, float(probability))
