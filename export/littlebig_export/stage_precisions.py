"""Reads what `--precision` asks for: one precision for both stages, or one for each."""

from __future__ import annotations

from collections.abc import Mapping

from littlebig_contract.stages import STAGES
from littlebig_export.errors import PairError
from littlebig_export.precision import PRECISIONS

INT8 = "int8"
DEFAULTS = {"cpu": "fp32", "cuda": "fp16", "onnxruntime": "fp16", "tensorrt": "fp16"}
_CHOICES = {
    "cpu": (INT8, "fp32"),
    "cuda": ("fp16", "fp32"),
    "onnxruntime": ("fp16", "fp32"),
    "tensorrt": (INT8, *PRECISIONS),
}


def stage_precisions(text: str | None, target: str) -> dict[str, str]:
    """The precision of each stage's backbone.

    Args:
        text: `fp16` for both stages, `little=int8,big=fp16` for each, `int8` for little alone; None for the defaults.
        target: one of `targets.TARGETS`; it decides the default of a stage that `text` does not name.

    Raises:
        PairError: if the text names something that is no stage or no precision of the target.
    """
    chosen = dict.fromkeys(STAGES, DEFAULTS[target])
    for part in (text or "").split(",") if text else ():
        stage, named, precision = part.strip().rpartition("=")
        # big's answers decide what is right, so it is quantised only where it is named.
        stages = (stage,) if named else ("little",) if precision == INT8 else STAGES
        if not set(stages) <= set(STAGES):
            raise PairError(f"--precision '{part}' names no stage: write little=int8 or big=int8")
        if precision not in _CHOICES[target]:
            known = ", ".join(_CHOICES[target])
            raise PairError(f"--precision '{part}': target {target} computes in one of {known}")
        chosen.update(dict.fromkeys(stages, precision))
    return chosen


def describe_precisions(precisions: Mapping[str, str]) -> str:
    """As `--precision` takes it: `fp16`, or `little=int8,big=fp16`."""
    if len(set(precisions.values())) == 1 and INT8 not in precisions.values():
        return precisions["little"]
    return ",".join(f"{stage}={precisions[stage]}" for stage in STAGES)
