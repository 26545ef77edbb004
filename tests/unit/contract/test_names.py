"""Names that the contract shares with code that imports nothing: the gate and the checked-in model repository."""

from pathlib import Path

import littlebig_gate

from littlebig_client import Stage
from littlebig_contract.scores import LOGIT_CLIP, SCORES
from littlebig_contract.stages import MODELS, STAGES

ROOT = Path(__file__).parents[3]


def test_models_are_those_of_the_checked_in_repository():
    assert set(MODELS) == {path.parent.name for path in (ROOT / "model_repository").glob("*/config.pbtxt")}


def test_stages_are_those_of_the_client():
    assert (Stage.LITTLE, Stage.BIG) == STAGES


def test_the_gate_clips_logits_at_the_same_number():
    assert littlebig_gate.LOGIT_CLIP == LOGIT_CLIP


def test_score_names_are_stable():
    assert SCORES == ("confidence", "margin")
