"""Chooses the threshold that an export serves: the one given, that of the pair's calibration, or the pair's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from littlebig_export.applying import CALIBRATION, calibrated_score, check_weights
from littlebig_export.classifiers import Classifier
from littlebig_export.errors import PairError, RepositoryError
from littlebig_export.pair import Pair


@dataclass(frozen=True)
class PairThreshold:
    """The threshold of an export.

    Attributes:
        value: escalate below this score, in [0, 1]; None for big only.
        source: where it is from, as littlebig.json says it.
        score: what the gate compares with it, `confidence` or `margin`.
        calibration: the JSON text that it is from, or None.
    """

    value: float | None
    source: str
    score: str = "confidence"
    calibration: str | None = None


def choose_threshold(
    pair: Pair, given: float | None, classifiers: Mapping[str, Classifier], report: Callable[[str], None]
) -> PairThreshold:
    """The threshold given at the export, or that of the pair's calibration of these weights, or the pair's own.

    Raises:
        PairError: if a calibration cannot be read.
    """
    if given is not None:
        return PairThreshold(given, "given at export")
    calibration = _calibration(pair, classifiers)
    if calibration is not None:
        content = json.loads(calibration)
        return PairThreshold(content["chosen"]["threshold"], CALIBRATION, calibrated_score(content), calibration)
    if pair.calibrations:
        report(f"not calibrated for these weights: the pair's own threshold, {pair.threshold:g}, is served")
    return PairThreshold(pair.threshold, "pair")


def _calibration(pair: Pair, classifiers: Mapping[str, Classifier]) -> str | None:
    """The pair's calibration of these weights as JSON text; None if all are of others."""
    served = {
        stage: {"model": each.name, "weights": {"sha256": each.weights_sha256}} for stage, each in classifiers.items()
    }
    for path in pair.calibrations:
        try:
            text = path.read_text(encoding="utf-8")
            check_weights(json.loads(text), served)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as reason:
            fact = reason.strerror if isinstance(reason, OSError) else "its content is another"
            raise PairError(
                f"'{path}' is no calibration that can be read ({fact}): write it with 'littlebig calibrate "
                "--output', or take 'calibration' out of the pair's file"
            ) from reason
        except RepositoryError:
            continue
        return text
    return None
