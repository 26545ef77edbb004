"""Whole calibrations: the published pair's figures, and a defined result for every unusual pair."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calibration_tables import labelled_where_they_differ, pair_table

from littlebig_calibration.calibrating import CalibrationSettings, calibrate
from littlebig_calibration.certifying import Guarantee
from littlebig_calibration.errors import PairChoiceError
from littlebig_calibration.evidence import Calibration, Costs
from littlebig_calibration.evidence_json import from_json, to_json
from littlebig_calibration.reading import read_tables
from littlebig_calibration.table import NO_LABEL, PredictionTable
from littlebig_calibration.tuning import TuningOptions
from littlebig_calibration.writing import write_table

DEFAULT = CalibrationSettings()


@pytest.fixture(scope="module")
def default_result() -> Calibration:
    return calibrate(pair_table(8000), "small", "large", DEFAULT)


def test_published_pair_has_the_published_figures(published_table: PredictionTable) -> None:
    result = calibrate(published_table, "ResNet50", "ViT", CalibrationSettings(costs=Costs(4.1, 17.6, "GMACs")))
    assert result.paper.threshold == pytest.approx(0.383, abs=0.002)
    assert result.paper.escalation_rate.value == pytest.approx(0.097, abs=0.0005)
    assert result.paper.accuracy.value == pytest.approx(0.7801, abs=0.00005)
    assert result.paper.cost == pytest.approx(4.1 + 0.09694 * 17.6)
    assert result.paper.cost_reduction == pytest.approx(1 - (4.1 + 0.09694 * 17.6) / 17.6)
    assert result.chosen.threshold is not None
    assert result.paper.threshold < result.chosen.threshold < 0.5
    assert result.guarantee is not None
    assert result.notes == ()
    assert result.data.tuning_images == 2500
    assert from_json(to_json(result)) == result


def test_published_pair_keeps_a_cost_target(published_table: PredictionTable) -> None:
    result = calibrate(published_table, "ResNet50", "ViT", CalibrationSettings(max_escalation=0.2))
    assert result.rule == "max-escalation"
    assert 0.19 < result.chosen.escalation_rate.value <= 0.2
    assert result.chosen.accuracy.low < 0.788 < result.chosen.accuracy.high
    assert result.guarantee is not None
    assert result.guarantee.max_accuracy_loss == 0
    tight = calibrate(published_table, "ResNet50", "ViT", CalibrationSettings(max_escalation=0.05))
    assert tight.guarantee is not None
    assert 0.005 < tight.guarantee.max_accuracy_loss < 0.02


def test_arbitration_escalates_less_on_the_published_pair(published_table: PredictionTable) -> None:
    plain = calibrate(published_table, "ResNet50", "ViT", CalibrationSettings(rule="paper"))
    result = calibrate(
        published_table, "ResNet50", "ViT", CalibrationSettings(rule="paper", tuning=TuningOptions(arbitrate=True))
    )
    assert (result.answer, result.guarantee) == ("arbitrate", None)
    assert result.chosen.escalation_rate.value < 0.96 * plain.chosen.escalation_rate.value
    assert result.chosen.accuracy.value >= result.accuracy_big.value


def test_calibration_does_not_depend_on_the_order_of_rows(tmp_path: Path, table: PredictionTable) -> None:
    write_table(table, tmp_path / "t.csv")
    head, *lines = (tmp_path / "t.csv").read_text().splitlines()
    (tmp_path / "u.csv").write_text("\n".join([head, *lines[::-1]]) + "\n")
    one, other = (calibrate(read_tables([tmp_path / name]), "small", "large", DEFAULT) for name in ("t.csv", "u.csv"))
    assert replace(one, data=other.data, created=other.created) == other


def test_too_few_labels_give_big_only_and_an_estimate_of_how_many_suffice() -> None:
    result = calibrate(pair_table(150), "small", "large", CalibrationSettings(costs=Costs(1, 4, "s")))
    assert (result.chosen.threshold, result.guarantee) == (None, None)
    assert result.chosen.escalation_rate.value == 1
    assert result.chosen.accuracy == result.accuracy_big
    assert (result.chosen.cost, result.chosen.cost_reduction) == (4, 0)
    assert result.images_needed is not None
    assert result.images_needed > 150
    assert result.notes[-1] == (
        "nothing could be certified for a loss of at most 0.00% at 95% confidence, "
        "so the answer is big only; "
        f"probably about {result.images_needed:,} images are needed (an estimate); "
        "a loss of 2.0% is certified at 0% escalated"
    )


def test_little_that_only_loses_gives_big_only_without_an_estimate(table: PredictionTable) -> None:
    random = np.random.default_rng(2)
    little, big = table.models
    worse = np.where(random.random(len(big.label)) < 0.2, (big.label + 3) % 10, big.label).astype(np.int32)
    worse = np.where(big.label == table.labels, worse, big.label)
    result = calibrate(replace(table, models=(replace(little, label=worse), big)), "small", "large", DEFAULT)
    assert (result.chosen.threshold, result.images_needed) == (None, None)
    assert result.notes[0].endswith(
        "so the answer is big only; on these images every threshold lost more than that: "
        "allow a larger loss or try another little"
    )


def test_little_better_than_big_is_noted() -> None:
    result = calibrate(pair_table(3000, skill=(1.0, 1.8)), "large", "small", CalibrationSettings())
    assert result.chosen.threshold == 0.0
    assert result.chosen.escalation_rate.value == 0
    assert result.difference is not None
    assert result.difference.low > 0
    assert re.fullmatch(
        r"little is at least as accurate as big on these 3,000 images \(alone right on \d+, big on \d+\): "
        "serve little alone, or check that the two are not swapped",
        result.notes[0],
    )


def test_tied_scores_are_noted() -> None:
    table = pair_table(3000)
    little = replace(table.models[0], confidence=np.round(table.models[0].confidence, 1))
    result = calibrate(replace(table, models=(little, table.models[1])), "small", "large", DEFAULT)
    assert result.notes[0] == (
        "only 6 distinct values of the confidence among 3,000 images: equal scores are escalated together, "
        "so few thresholds differ in effect; predict with unrounded probabilities"
    )
    assert result.chosen.threshold is not None
    assert 0.5 <= result.chosen.threshold <= 1.0


def test_a_larger_tolerance_escalates_less() -> None:
    table = pair_table(4000)
    rates = [
        calibrate(table, "small", "large", CalibrationSettings(guarantee=Guarantee(loss))).chosen.escalation_rate.value
        for loss in (0.0, 0.01, 0.03)
    ]
    assert rates[0] > rates[1] > rates[2]


def test_curve_contains_the_chosen_points(default_result: Calibration) -> None:
    assert len(default_result.curve.threshold) <= 200
    for point in (default_result.chosen, default_result.paper):
        place = default_result.curve.threshold.index(point.threshold)
        assert default_result.curve.escalation_rate[place] == point.escalation_rate.value
        assert default_result.curve.difference[place] == pytest.approx(point.difference.value)
    assert default_result.curve.threshold[-1] is None
    assert default_result.curve.escalation_rate[-1] == 1


def test_thresholds_are_the_shortest_decimals_of_float32(default_result: Calibration) -> None:
    threshold = default_result.chosen.threshold
    assert threshold is not None
    assert len(repr(threshold)) <= 12
    assert repr(float(str(np.float32(threshold)))) == repr(threshold)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (lambda: CalibrationSettings(guarantee=Guarantee(-0.1)), "the accuracy loss -0.1 is not in [0, 1)"),
        (lambda: CalibrationSettings(guarantee=Guarantee(0, 1.0)), "the confidence level 1 is not in [0.5, 1)"),
        (lambda: CalibrationSettings(max_escalation=1.5), "the escalation rate 1.5 is not in (0, 1)"),
        (
            lambda: CalibrationSettings(costs=Costs(5, 4, "s")),
            "costs of 5 (little) and 4 (big): both must be above 0, and little's the lower one",
        ),
    ],
)
def test_settings_outside_their_range_are_refused(settings, message: str) -> None:
    with pytest.raises(PairChoiceError) as caught:
        settings()
    assert str(caught.value) == message


def test_labels_of_disagreements_alone_give_the_same_threshold_and_no_accuracy() -> None:
    table = pair_table(6000)
    whole, sparse = (calibrate(each, "small", "large", DEFAULT) for each in (table, labelled_where_they_differ(table)))
    assert sparse.chosen.threshold == whole.chosen.threshold
    assert (sparse.proof, sparse.difference, sparse.curve) == (whole.proof, whole.difference, whole.curve)
    assert (sparse.accuracy_little, sparse.accuracy_big, sparse.chosen.accuracy) == (None, None, None)
    assert sparse.data.labelled_images == np.count_nonzero(table.models[0].label != table.models[1].label)
    assert from_json(to_json(sparse)) == sparse


def budget_table(budget: int, seed: int = 1) -> PredictionTable:
    """What `littlebig label` and a labeller make: planning images, and a pool labelled from the top down."""
    table = pair_table(8000, seed)
    little, big = table.models
    part = (np.arange(8000) >= 1000).astype(np.int32)
    ordered = np.argsort(-little.confidence, kind="stable")
    wanted = ordered[(part == 1)[ordered] & (little.label != big.label)[ordered]][:budget]
    labels = np.full(8000, NO_LABEL, np.int32)
    labels[wanted] = table.labels[wanted]
    return replace(table, labels=labels, part=part)


def test_a_budget_of_labels_certifies_and_prints_no_accuracy() -> None:
    result = calibrate(budget_table(500), "small", "large", CalibrationSettings(guarantee=Guarantee(0.01)))
    assert result.chosen.threshold is not None
    assert (result.chosen.accuracy, result.paper, result.accuracy_big) == (None, None, None)
    assert result.difference is None
    assert result.proof is not None
    assert (result.proof.images, result.data.tuning_images) == (7000, 1000)
    assert 0 < result.proof.labels_used <= 500
    assert result.chosen.difference.low > -0.02
    assert None not in result.curve.threshold[:-1]


def test_labels_that_run_out_are_noted() -> None:
    result = calibrate(budget_table(150), "small", "large", CalibrationSettings(guarantee=Guarantee(0.03)))
    assert result.proof is not None
    assert result.proof.labels_used <= 150
    assert any(note.startswith("the labels end at an escalation rate of ") for note in result.notes)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (CalibrationSettings(rule="paper"), "the paper's rule"),
        (CalibrationSettings(max_escalation=0.2), "a cost target"),
    ],
)
def test_other_rules_need_the_labels_of_all_disagreements(settings: CalibrationSettings, name: str) -> None:
    with pytest.raises(PairChoiceError) as caught:
        calibrate(budget_table(500), "small", "large", settings)
    assert str(caught.value) == (
        f"{name} needs a label of every image on which the models differ: use the certified rule"
    )


def test_usual_tolerances_are_certified_beside_the_one_asked_for(default_result: Calibration) -> None:
    assert [each.max_accuracy_loss for each in default_result.tolerances] == [0.0, 0.001, 0.005, 0.01, 0.02]
    rates = [each.escalation_rate for each in default_result.tolerances]
    assert rates == sorted(rates, reverse=True)
    assert default_result.tolerances[0].threshold == default_result.chosen.threshold
    assert rates[0] == default_result.chosen.escalation_rate.value


def test_the_proof_says_what_was_counted(default_result: Calibration) -> None:
    proof = default_result.proof
    assert proof is not None
    assert proof.images == 8000 - default_result.data.tuning_images
    assert proof.won > proof.lost > 0
    assert 0 < proof.p_value <= proof.level <= 0.05
    assert proof.lost + proof.won <= proof.labels_used <= proof.disagreements


def test_margin_score_needs_a_table_with_margins(table: PredictionTable) -> None:
    bare = replace(table, models=tuple(replace(model, margin=None) for model in table.models))
    with pytest.raises(PairChoiceError, match=r"^the little model's table has no margins: use --score confidence, or"):
        calibrate(bare, "small", "large", CalibrationSettings(tuning=TuningOptions(("confidence", "margin"))))


def test_calibrating_50_000_images_needs_less_than_a_gigabyte(tmp_path: Path) -> None:
    table = pair_table(50_000)
    top5 = np.tile(np.arange(5, dtype=np.int32), (50_000, 1))
    models = tuple(
        replace(model, top5_labels=top5, top5_probabilities=top5.astype(np.float32) / 10) for model in table.models
    )
    write_table(replace(table, models=models), tmp_path / "t.parquet")
    program = (
        "import sys; from pathlib import Path; "
        "from littlebig_calibration.reading import read_tables; "
        "from littlebig_calibration.calibrating import CalibrationSettings, calibrate; "
        "calibrate(read_tables([Path(sys.argv[1])]), 'small', 'large', CalibrationSettings()); "
        # getrusage would include the peak of the process that started this one.
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "t.parquet")], capture_output=True, text=True, check=True
    )
    assert int(run.stdout) < 1_000_000  # KiB
