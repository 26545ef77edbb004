"""Whole calibrations: the published pair's figures, and a defined answer to every odd pair."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calibration_tables import pair_table

from littlebig_calibration.calibrating import CalibrationSettings, calibrate
from littlebig_calibration.fixed_sequence import Guarantee
from littlebig_calibration.errors import PairChoiceError
from littlebig_calibration.evidence import Costs, from_json, to_json
from littlebig_calibration.reading import read_tables
from littlebig_calibration.table import PredictionTable
from littlebig_calibration.tuning import TuningOptions
from littlebig_calibration.writing import write_table


@pytest.fixture(scope="module")
def imagenet(published: Path) -> PredictionTable:
    return read_tables([published / "ResNet50.csv", published / "ViT.csv"], published / "labels.csv")


def test_the_published_pair(imagenet: PredictionTable) -> None:
    found = calibrate(imagenet, "ResNet50", "ViT", CalibrationSettings(costs=Costs(4.1, 17.6, "GMACs")))
    assert found.paper.threshold == pytest.approx(0.383, abs=0.002)
    assert found.paper.escalation_rate.value == pytest.approx(0.097, abs=0.0005)
    assert found.paper.accuracy.value == pytest.approx(0.7801, abs=0.00005)
    assert found.paper.cost == pytest.approx(4.1 + 0.09694 * 17.6)
    assert found.paper.cost_reduction == pytest.approx(1 - (4.1 + 0.09694 * 17.6) / 17.6)
    assert found.chosen.threshold is not None
    assert found.paper.threshold < found.chosen.threshold < 0.5
    assert found.guarantee is not None
    assert found.notes == ()
    assert found.data.tuning_images == 2500
    assert from_json(to_json(found)) == found


def test_the_published_pair_within_a_cost_target(imagenet: PredictionTable) -> None:
    found = calibrate(imagenet, "ResNet50", "ViT", CalibrationSettings(max_escalation=0.2))
    assert found.rule == "max-escalation"
    assert 0.19 < found.chosen.escalation_rate.value <= 0.2
    assert found.chosen.accuracy.low < 0.788 < found.chosen.accuracy.high
    assert found.guarantee is not None
    assert found.guarantee.max_accuracy_loss == 0
    tight = calibrate(imagenet, "ResNet50", "ViT", CalibrationSettings(max_escalation=0.05))
    assert tight.guarantee is not None
    assert 0.005 < tight.guarantee.max_accuracy_loss < 0.02


def test_arbitration_escalates_less_on_the_published_pair(imagenet: PredictionTable) -> None:
    plain = calibrate(imagenet, "ResNet50", "ViT", CalibrationSettings(rule="paper"))
    found = calibrate(imagenet, "ResNet50", "ViT", CalibrationSettings(rule="paper", tuning=TuningOptions(arbitrate=True)))
    assert (found.answer, found.guarantee) == ("arbitrate", None)
    assert found.chosen.escalation_rate.value < 0.96 * plain.chosen.escalation_rate.value
    assert found.chosen.accuracy.value >= found.accuracy_big.value


def test_a_calibration_does_not_depend_on_the_order_of_rows(tmp_path: Path, table: PredictionTable) -> None:
    write_table(table, tmp_path / "t.csv")
    head, *lines = (tmp_path / "t.csv").read_text().splitlines()
    (tmp_path / "u.csv").write_text("\n".join([head, *lines[::-1]]) + "\n")
    one, other = (
        calibrate(read_tables([tmp_path / name]), "small", "large", CalibrationSettings()) for name in ("t.csv", "u.csv")
    )
    assert replace(one, data=other.data, created=other.created) == other


def test_too_few_labels_give_big_only_and_say_how_many_would_do() -> None:
    found = calibrate(pair_table(150), "small", "large", CalibrationSettings(costs=Costs(1, 4, "s")))
    assert (found.chosen.threshold, found.guarantee) == (None, None)
    assert found.chosen.escalation_rate.value == 1
    assert found.chosen.accuracy.value == found.accuracy_big.value
    assert (found.chosen.cost, found.chosen.cost_reduction) == (4, 0)
    assert found.labels_needed is not None
    assert found.labels_needed > 150
    assert found.notes[-1] == (
        "nothing could be certified for a loss of at most 0.00% at 95% confidence, "
        "so the answer is big only; "
        f"probably about {found.labels_needed:,} labels are needed (an estimate)"
    )


def test_a_little_that_only_loses_gives_big_only_however_many_labels(table: PredictionTable) -> None:
    draw = np.random.default_rng(2)
    little, big = table.models
    worse = np.where(draw.random(len(big.label)) < 0.2, (big.label + 3) % 10, big.label).astype(np.int32)
    worse = np.where(big.label == table.labels, worse, big.label)
    found = calibrate(replace(table, models=(replace(little, label=worse), big)), "small", "large", CalibrationSettings())
    assert (found.chosen.threshold, found.labels_needed) == (None, None)
    assert found.notes[0].endswith(
        "so the answer is big only; on these images every threshold lost more than that: "
        "allow more or try another little"
    )


def test_a_little_better_than_big_is_told() -> None:
    found = calibrate(pair_table(3000, skill=(1.0, 1.8)), "large", "small", CalibrationSettings())
    assert found.chosen.threshold == 0.0
    assert found.chosen.escalation_rate.value == 0
    little, big = (round(value.value * 3000) for value in (found.accuracy_little, found.accuracy_big))
    assert found.notes == (
        f"little answers {little:,} of these 3,000 images rightly, big {big:,}: "
        "serve little alone, or make sure that the two are not swapped",
    )


def test_ties_are_told() -> None:
    table = pair_table(3000)
    little = replace(table.models[0], confidence=np.round(table.models[0].confidence, 1))
    found = calibrate(replace(table, models=(little, table.models[1])), "small", "large", CalibrationSettings())
    assert found.notes[0] == (
        "only 6 different confidence values among 3,000 images: those of equal value are escalated together, "
        "so few thresholds make a difference; predict with unrounded probabilities"
    )
    assert found.chosen.threshold in {0.5, 0.6, 0.7, 0.8, 0.9, 1.0}


def test_a_larger_tolerance_escalates_less() -> None:
    table = pair_table(8000)
    rates = [
        calibrate(table, "small", "large", CalibrationSettings(guarantee=Guarantee(loss))).chosen.escalation_rate.value
        for loss in (0.0, 0.01, 0.03)
    ]
    assert rates[0] > rates[1] > rates[2]


def test_the_curve_has_the_chosen_points_in_it() -> None:
    found = calibrate(pair_table(8000), "small", "large", CalibrationSettings())
    assert len(found.curve.threshold) <= 200
    for point in (found.chosen, found.paper):
        place = found.curve.threshold.index(point.threshold)
        assert found.curve.escalation_rate[place] == point.escalation_rate.value
        assert found.curve.accuracy[place] == pytest.approx(point.accuracy.value)
    assert found.curve.threshold[-1] is None
    assert found.curve.escalation_rate[-1] == 1


def test_thresholds_are_float32_as_the_gate_compares_them() -> None:
    threshold = calibrate(pair_table(8000), "small", "large", CalibrationSettings()).chosen.threshold
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
            "costs of 5 (little) and 4 (big): both must be above 0, and little the cheaper one",
        ),
    ],
)
def test_settings_outside_their_range_are_refused(settings, message: str) -> None:
    with pytest.raises(PairChoiceError) as caught:
        settings()
    assert str(caught.value) == message


def test_a_gate_on_margins_needs_margins(table: PredictionTable) -> None:
    bare = replace(table, models=tuple(replace(model, margin=None) for model in table.models))
    with pytest.raises(PairChoiceError, match=r"^the little model's table has no margins: use --gate confidence, or"):
        calibrate(bare, "small", "large", CalibrationSettings(tuning=TuningOptions(("confidence", "margin"))))


def test_50_000_images_with_top_5_of_two_models_fit_into_a_gigabyte(tmp_path: Path) -> None:
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
        # Not getrusage: its peak is inherited from the process that started this one.
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "t.parquet")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(run.stdout) < 1_000_000  # KiB
