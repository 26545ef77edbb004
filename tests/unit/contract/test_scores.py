"""The gate, which imports no package of ours, agrees with the contract about scores."""

import math

import littlebig_gate
import pytest

from littlebig_contract.scores import LOGIT_CLIP


@pytest.mark.parametrize(("confidence", "clipped"), [(0.0, LOGIT_CLIP), (1.0, 1 - LOGIT_CLIP)])
def test_gate_clips_confidences_like_the_contract(confidence: float, clipped: float) -> None:
    assert littlebig_gate._logit(confidence) == pytest.approx(math.log(clipped) - math.log1p(-clipped), rel=1e-12)
