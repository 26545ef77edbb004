"""Names that the contract shares with the client and the checked-in model repository, which do not import it."""

from pathlib import Path

from littlebig_client import Stage
from littlebig_contract.stages import MODELS, STAGES

ROOT = Path(__file__).parents[3]


def test_models_are_those_of_the_checked_in_repository():
    assert set(MODELS) == {path.parent.name for path in (ROOT / "model_repository").glob("*/config.pbtxt")}


def test_stages_are_those_of_the_client():
    assert (Stage.LITTLE, Stage.BIG) == STAGES
