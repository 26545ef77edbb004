"""A calibration comes to be served with its evidence, or is refused and changes nothing."""

import json

import pytest
from click.testing import CliRunner

from littlebig_cli.main import littlebig
from littlebig_export.applying import apply_calibration
from littlebig_export.config_pbtxt import read_config
from littlebig_export.errors import ExportError
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair

PUBLISHED = {
    "calibrated_escalation_low": "0.1235",
    "calibrated_escalation_high": "0.25",
    "calibrated_disagreement": "0.0312",
}


@pytest.fixture
def repository(tiny_pair, tmp_path):
    export_pair(load_pair(str(tiny_pair)), "cpu", tmp_path / "out")
    return tmp_path / "out"


def calibration(repository, **changes):
    stages = json.loads((repository / "littlebig.json").read_text())["stages"]
    models = {
        stage: {"name": facts["model"], "weights_sha256": facts["weights"]["sha256"]} for stage, facts in stages.items()
    }
    score = {} if "gate" in changes else {"score": "confidence"}
    return json.dumps({**models, **score, "answer": "big", "chosen": chosen(0.4259), **changes})


def chosen(threshold):
    rate = {"value": 0.2, "low": 0.12345, "high": 0.25}
    return {"threshold": threshold, "escalation_rate": rate, "disagreement": None if threshold is None else 0.03125}


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_threshold_and_evidence_arrive_and_all_else_stays(repository):
    before, given = files(repository), parameters(repository)
    line = apply_calibration(repository, calibration(repository))
    assert line == f"{repository} serves threshold 0.4259, from the next start of its server on"
    assert parameters(repository) == given | {"threshold": "0.4259", **PUBLISHED}
    assert json.loads((repository / "calibration.json").read_text())["chosen"]["threshold"] == 0.4259
    assert json.loads((repository / "littlebig.json").read_text())["threshold"] == {
        "value": 0.4259,
        "source": "calibration.json",
        "score": "confidence",
    }
    changed = {path.name for path, content in files(repository).items() if before.get(path) != content}
    assert changed == {"config.pbtxt", "calibration.json", "littlebig.json"}


@pytest.mark.parametrize(
    ("changes", "helps"),
    [
        ({}, "label more images, allow a larger loss (--max-accuracy-loss), or say --allow-big-only"),
        (
            {
                "images_needed": 6500,
                "tolerances": [
                    {"max_accuracy_loss": 0.0, "threshold": None, "escalation_rate": 1.0},
                    {"max_accuracy_loss": 0.01, "threshold": 0.3, "escalation_rate": 0.15},
                ],
            },
            "label more images (about 6,500, an estimate), allow a loss (--max-accuracy-loss 0.01 is certified at 15% "
            "escalated), or say --allow-big-only",
        ),
    ],
)
def test_big_only_is_refused_and_the_refusal_says_what_would_help(repository, changes, helps):
    before = files(repository)
    with pytest.raises(ExportError) as refused:
        apply_calibration(repository, calibration(repository, chosen=chosen(None), **changes))
    assert str(refused.value) == f"nothing was certified, and 'big only' would turn the cascade off: {helps}"
    assert files(repository) == before


def test_a_calibration_from_pictures_decoded_otherwise_is_refused(repository):
    apply_calibration(repository, calibration(repository, data={"decode": "scaled"}))
    with pytest.raises(
        ExportError, match="from pictures decoded 'full', the repository's preprocess has decode 'scaled'"
    ):
        apply_calibration(repository, calibration(repository, data={"decode": "full"}))


def test_big_only_with_leave_is_a_policy_and_a_later_threshold_undoes_it(repository):
    apply_calibration(repository, calibration(repository, chosen=chosen(None)), allow_big_only=True)
    config = repository / "little_big" / "config.pbtxt"
    assert '"big"' in config.read_text()
    apply_calibration(repository, calibration(repository))
    assert '"cascade"' in config.read_text()
    assert '"0.4259"' in config.read_text()


def parameters(repository):
    message = read_config(repository / "little_big" / "config.pbtxt").message
    return {name: value.string_value for name, value in message.parameters.items()}


@pytest.mark.parametrize("key", ["score", "gate"])  # older calibrations call it `gate`
def test_all_choices_of_a_calibration_are_applied_and_later_undone(repository, key):
    before = parameters(repository)
    changes = {key: "margin", "answer": "arbitrate", "offset": 0.75, "chosen": chosen(0.7)}
    apply_calibration(repository, calibration(repository, **changes))
    assert parameters(repository) == {
        **before,
        "threshold": "0.7",
        "score": "margin",
        "answer": "arbitrate",
        "offset": "0.75",
        **PUBLISHED,
    }
    assert "# What is compared with the threshold: " in (repository / "little_big" / "config.pbtxt").read_text()
    apply_calibration(repository, calibration(repository))
    assert parameters(repository) == {**before, "threshold": "0.4259", **PUBLISHED}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"big": {"name": "big", "weights_sha256": "f" * 64}},
            "the calibration was made for other weights of big (big ffffffffffff) than the repository has (big ",
        ),
        (
            {"little": {"name": "little", "weights_sha256": None}},
            "the calibration does not say which weights of little it was made for: calibrate on a table of 'littlebig predict'",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(repository, changes, message):
    before = files(repository)
    with pytest.raises(ExportError) as error:
        apply_calibration(repository, calibration(repository, **changes))
    assert str(error.value).startswith(message)
    assert files(repository) == before


def test_the_command_applies_a_file_or_says_in_one_line_why_not(repository, tmp_path):
    file = tmp_path / "calibration.json"
    words = ["apply", str(file), "--repository", str(repository)]
    missing = CliRunner().invoke(littlebig, words)
    assert (missing.exit_code, missing.output) == (
        1,
        f"littlebig: '{file}' cannot be read: [Errno 2] No such file or directory: '{file}'\n",
    )
    before = files(repository)
    for wrong in ("not json", "[]", "{}"):
        file.write_text(wrong)
        refused = CliRunner().invoke(littlebig, words)
        assert refused.exit_code == 1
        assert refused.output == f"littlebig: '{file}' is not what 'littlebig calibrate --output' writes\n"
    assert files(repository) == before
    file.write_text(calibration(repository))
    applied = CliRunner().invoke(littlebig, words)
    assert (applied.exit_code, applied.output) == (
        0,
        f"{repository} serves threshold 0.4259, from the next start of its server on\n",
    )
