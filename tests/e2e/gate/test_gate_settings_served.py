"""The effect of the gate's parameters on a served gate."""

import json
import urllib.error
import urllib.request

import pytest
from tests.e2e.gate.puppets import SURE, UNSURE, until
from tritonclient.utils import InferenceServerException

DOUBTFUL = 100  # confidence 0.39, margin 0.61


def test_the_margin_decides_where_it_is_the_score(load_gate):
    running = load_gate(threshold=0.5, score="margin")
    assert running.ask(DOUBTFUL, SURE) == [(0, 1), (1, 2)]  # the puppet's margin is 1 - confidence


def test_the_old_name_of_the_score_fails_the_load_with_the_new_one(load_gate):
    with pytest.raises(InferenceServerException, match="parameter 'gate' is now called 'score': rename it"):
        load_gate(threshold=0.5, gate="margin")


def test_arbitration_keeps_little_where_it_is_surer_than_big(load_gate):
    running = load_gate(threshold=1.0, answer="arbitrate", offset=0.5)  # big's confidence is always 0.6
    assert running.ask(DOUBTFUL, 240) == [(1, 2), (0, 1)]
    until(lambda: running.metric("littlebig_images_total", reason="arbitrated") == 1, "counted")
    assert running.metric("littlebig_images_total", reason="unsure") == 1


def test_metrics_count_images_by_the_stage_that_answered_and_the_reason(load_gate):
    running = load_gate(
        threshold=0.5, calibrated_escalation_low=0.1, calibrated_escalation_high=0.3, calibrated_disagreement=0.02
    )
    running.ask(SURE, UNSURE, DOUBTFUL)
    running.ask(UNSURE, parameters={"policy": "little"})
    running.ask(SURE, parameters={"policy": "big"})
    until(lambda: running.metric("littlebig_images_total") == 5, "counted")
    counts = {
        (stage, reason): running.metric("littlebig_images_total", stage=stage, reason=reason)
        for stage in ("little", "big")
        for reason in ("sure", "unsure", "policy")
    }
    assert counts == {
        ("little", "sure"): 1,
        ("little", "unsure"): 0,
        ("little", "policy"): 1,
        ("big", "sure"): 0,
        ("big", "unsure"): 2,
        ("big", "policy"): 1,
    }
    assert running.metric("littlebig_score_count") == 4
    assert running.metric("littlebig_score_bucket", le="0.4") == 3
    assert running.metric("littlebig_threshold", kind="configured") == 0.5
    assert running.metric("littlebig_calibrated_escalation_rate", bound="high") == 0.3
    assert running.metric("littlebig_calibrated_disagreement") == 0.02


def test_audits_ask_big_about_sure_images_and_count_whether_it_agrees(load_gate):
    running = load_gate(threshold=0.5, audit_rate=1)
    running.ask(SURE)
    until(lambda: running.metric("littlebig_audits_total", outcome="disagree") == 1, "audited")  # labels 1 and 2
    running.set_behaviour("big", error="out of memory")
    running.ask(SURE)
    until(lambda: running.metric("littlebig_audits_total", outcome="failed") == 1, "audited")
    assert running.metric("littlebig_images_total", stage="big") == 0
    assert running.metric("littlebig_breaker_state") == 0


def refusal(running, **parameters):
    with pytest.raises(InferenceServerException) as error:
        running.ask(SURE, parameters=parameters)
    assert error.value.status() == "StatusCode.INVALID_ARGUMENT"
    return error.value.message()


def test_callers_set_only_the_parameters_that_the_repository_allows(load_gate):
    running = load_gate(threshold=0.5, allow="threshold", min_threshold=0.2, max_threshold=0.9)
    assert running.ask(DOUBTFUL, parameters={"threshold": 0.2}) == [(0, 1)]
    assert "'threshold' = 0.95 is not a number in [0.2, 0.9]" in refusal(running, threshold=0.95)
    assert "'policy' may not be set here; a request may set threshold" in refusal(running, policy="big")
    served = running.triton.get_model_config(running.gate).config.parameters
    assert [served[name].string_value for name in ("allow", "min_threshold", "max_threshold", "score")] == [
        "threshold",
        "0.2",
        "0.9",
        "confidence",
    ]


def test_a_repository_can_leave_callers_nothing_to_set(load_gate):
    running = load_gate(threshold=0.5, allow="none")
    assert running.ask(SURE) == [(0, 1)]
    assert "'threshold' may not be set here; a request may set none" in refusal(running, threshold=0.5)
    with pytest.raises(InferenceServerException, match="'top_k' is not one of threshold, policy"):
        load_gate(threshold=0.5, allow="threshold, top_k")


HOSTILE = "two\nlines \x1b[31m" + "long" * 2500


@pytest.mark.parametrize("parameters", [{HOSTILE: 1}, {"policy": HOSTILE}, {"threshold": HOSTILE}])
def test_text_of_a_request_comes_back_in_one_short_line(load_gate, parameters):
    message = refusal(load_gate(threshold=0.5), **parameters)
    assert message.isprintable()
    assert "two\\" in message
    assert len(message) < 300


def test_text_over_http_that_is_no_utf_8_is_refused_for_its_own_request(load_gate):
    running = load_gate(threshold=0.5)
    body = (
        b'{"inputs": [{"name": "image", "shape": [1, 32, 32, 3], "datatype": "UINT8", "data": ['
        + b"0," * 3071
        + b'0]}], "parameters": {"policy": "\xff\xfe"}}'
    )
    url = f"http://{running.server.http_url}/v2/models/{running.gate}/infer"
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(urllib.request.Request(url, body), timeout=30)
    assert error.value.code == 400
    assert "\\n" not in json.loads(error.value.read())["error"]
    assert running.ask(SURE) == [(0, 1)]


def test_audits_of_all_images_are_kept_by_every_instance(load_gate, tmp_path):
    folder = tmp_path / "audits"
    running = load_gate(instances=2, threshold=0.5, audit_rate=1, audit_folder=folder, audit_rows=7)

    def is_full():
        running.ask(SURE, UNSURE)
        return running.metric("littlebig_kept_audits_total", outcome="full") > 0

    until(is_full, "seven audits")
    records = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    images = [record for record in records if record["record"] == "image"]
    assert len(images) == 7
    assert {image["little"]["class"] for image in images} == {1}
    assert {image["big"]["class"] for image in images} == {2}
    assert {image["little"]["confidence"] for image in images} == {0.0, 1.0}
    assert all((folder / image["picture"]).stat().st_size for image in images)
    run = records[0]
    assert (run["record"], run["score"], run["threshold"]) == ("run", "confidence", 0.5)
    assert run["weights"].keys() == {"little", "big"}
    until(lambda: running.metric("littlebig_kept_audits_total", outcome="kept") == 7, "counted")


def test_a_full_folder_of_audits_affects_no_answer(load_gate, tmp_path):
    (tmp_path / "audits").write_text("a file, where the folder should be")
    running = load_gate(threshold=0.5, audit_rate=1, audit_folder=tmp_path / "audits")
    for _ in range(3):
        assert running.ask(SURE, UNSURE) == [(0, 1), (1, 2)]
    until(lambda: running.metric("littlebig_kept_audits_total", outcome="unwritten") > 0, "the first failure")
    until(lambda: running.metric("littlebig_audits_total", outcome="disagree") == 3, "audits without the folder")
