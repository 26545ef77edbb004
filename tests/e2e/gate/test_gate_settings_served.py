"""What the parameters of little_big make the served gate do."""

from tests.e2e.gate.puppets import SURE, UNSURE, until

DOUBTFUL = 100  # confidence 0.39, margin 0.61


def test_the_margin_decides_where_the_pair_gates_on_it(puppets):
    with puppets(threshold=0.5, gate="margin") as running:
        assert running.ask(DOUBTFUL, SURE) == [(0, 1), (1, 2)]  # the puppet's margin is 1 - confidence


def test_arbitration_keeps_little_where_it_is_surer_than_big(puppets):
    with puppets(threshold=1.0, answer="arbitrate", offset=0.5) as running:  # big's confidence is always 0.6
        assert running.ask(DOUBTFUL, 240) == [(1, 2), (0, 1)]
        until(lambda: running.metric("littlebig_images_total", reason="arbitrated") == 1, "counted")
        assert running.metric("littlebig_images_total", reason="unsure") == 1


def test_what_is_counted_is_what_was_answered(puppets):
    with puppets(
        threshold=0.5, calibrated_escalation_low=0.1, calibrated_escalation_high=0.3, calibrated_disagreement=0.02
    ) as running:
        running.ask(SURE, UNSURE, DOUBTFUL)
        running.ask(UNSURE, parameters={"policy": "little"})
        running.ask(SURE, parameters={"policy": "big"})
        until(lambda: running.metric("littlebig_images_total") == 5, "counted")
        counted = {
            (stage, reason): running.metric("littlebig_images_total", stage=stage, reason=reason)
            for stage in ("little", "big")
            for reason in ("sure", "unsure", "policy")
        }
        assert counted == {
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


def test_audits_ask_big_about_sure_images_and_count_whether_it_agrees(puppets):
    with puppets(threshold=0.5, audit_rate=1) as running:
        running.ask(SURE)
        until(lambda: running.metric("littlebig_audits_total", outcome="disagree") == 1, "audited")  # labels 1 and 2
        running.tell("big", error="out of memory")
        running.ask(SURE)
        until(lambda: running.metric("littlebig_audits_total", outcome="failed") == 1, "audited")
        assert running.metric("littlebig_images_total", stage="big") == 0
        assert running.metric("littlebig_breaker_state") == 0
