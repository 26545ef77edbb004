"""The effect of the gate's parameters on a served gate."""

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
