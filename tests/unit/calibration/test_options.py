"""An option is used only where tuning images make a gain likely."""

import numpy as np
import pytest

from littlebig_calibration.options import LIKELY, Candidate, choose_option


def candidates(images: int, better: float, seed: int = 0) -> list[Candidate]:
    """The plain rule, and a score that orders images by how much is lost, mixed with noise."""
    draw = np.random.default_rng(seed)
    ease = draw.random(images)
    kind = draw.random(images)
    kept = np.where(kind < 0.12 * (1 - ease), 1, np.where(kind > 1 - 0.08, -1, 0)).astype(np.int8)
    noise = draw.random(images)
    plain = 0.5 * ease + 0.5 * noise
    option = (0.5 + better) * ease + (0.5 - better) * draw.random(images)
    none = np.zeros(images, dtype=np.int8)
    return [
        Candidate("confidence", plain.astype(np.float32), kept, none),
        Candidate("margin", option.astype(np.float32), kept, none),
    ]


def test_a_clearly_better_score_is_used() -> None:
    choice = choose_option(candidates(20_000, 0.5), 80_000)
    assert choice.place == 1
    assert choice.probability >= LIKELY
    assert choice.reason.startswith("margin: gains with probability")


def test_a_score_that_is_no_better_is_hardly_ever_used() -> None:
    used = sum(choose_option(candidates(1000, 0.0, seed), 4000).place for seed in range(20))
    assert used <= 5


def test_too_few_discordant_images_leave_the_plain_rule_and_say_so() -> None:
    choice = choose_option(candidates(200, 0.5), 800)
    assert choice.place == 0
    assert "60 are needed to compare options" in choice.reason


def test_without_options_there_is_nothing_to_compare() -> None:
    assert choose_option(candidates(1000, 0.5)[:1], 4000).reason == "confidence: nothing else was allowed"


@pytest.mark.parametrize("shift", [1, -1])
def test_what_is_lost_at_every_threshold_counts_against_an_option(shift: int) -> None:
    plain, _ = candidates(10_000, 0.0)
    anyway = np.where(np.random.default_rng(1).random(10_000) < 0.05, shift, 0).astype(np.int8)
    option = Candidate("arbitrate", plain.score, np.where(anyway != 0, 0, plain.kept).astype(np.int8), anyway)
    assert choose_option([plain, option], 40_000).place == (1 if shift < 0 else 0)
