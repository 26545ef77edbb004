import pytest
from littlebig_big_stage import MAX_PROBES
from littlebig_settings import MAX_IN_FLIGHT, BadSetting, GateSettings

# thread_pool_size of Triton's Python backend, in its python_be.cc.
THREADS = 32


def test_only_the_threshold_is_required():
    assert GateSettings.from_parameters({"threshold": "0.3"}) == GateSettings(threshold=0.3)


def test_every_setting_is_read_from_its_text():
    settings = GateSettings.from_parameters(
        {
            "threshold": "0.3",
            "policy": "little",
            "allow": " policy,threshold ",
            "min_threshold": "0.2",
            "max_threshold": "0.9",
            "score": "margin",
            "answer": "arbitrate",
            "offset": "-0.25",
            "max_batches_in_flight": "8",
            "big_max_batch_size": "16",
            "on_big_failure": "little",
            "big_timeout_ms": "250",
            "breaker_retry_ms": "500",
            "latency_target_ms": "100",
            "threshold_floor": "0.1",
            "audit_rate": "0.001",
            "audit_folder": "/var/audits",
            "audit_rows": "500",
            "calibrated_escalation_low": "0.1",
            "calibrated_escalation_high": "0.2",
            "calibrated_disagreement": "0.05",
        }
    )
    assert settings == GateSettings(
        threshold=0.3,
        policy="little",
        allow=("threshold", "policy"),
        min_threshold=0.2,
        max_threshold=0.9,
        score="margin",
        answer="arbitrate",
        offset=-0.25,
        max_batches_in_flight=8,
        big_max_batch_size=16,
        on_big_failure="little",
        big_timeout_ms=250,
        breaker_retry_ms=500,
        latency_target_ms=100,
        threshold_floor=0.1,
        audit_rate=0.001,
        audit_folder="/var/audits",
        audit_rows=500,
        calibrated_escalation_low=0.1,
        calibrated_escalation_high=0.2,
        calibrated_disagreement=0.05,
    )


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("none", ()),
        ("policy", ("policy",)),
        ("threshold", ("threshold",)),
        ("policy, threshold", ("threshold", "policy")),
    ],
)
def test_the_parameters_that_a_request_may_set_are_a_list_or_none(text, parameters):
    assert GateSettings.from_parameters({"threshold": "0.3", "allow": text}).allow == parameters


def test_hung_calls_leave_triton_a_thread_for_little():
    audit = 1
    assert MAX_IN_FLIGHT + MAX_PROBES + audit < THREADS


def test_parameters_in_capitals_are_ignored():
    assert GateSettings.from_parameters({"threshold": "0.3", "FORCE_CPU_ONLY_INPUT_TENSORS": "yes"}) == GateSettings(
        0.3
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"threshold": "high"}, "parameter 'threshold' = 'high' is not a number in [0, 1]"),
        ({"threshold": "nan"}, "parameter 'threshold' = 'nan' is not a number in [0, 1]"),
        ({"threshold": "1.5"}, "parameter 'threshold' = '1.5' is not a number in [0, 1]"),
        ({"policy": "x"}, "parameter 'policy' = 'x' is not one of cascade, little, big"),
        (
            {"allow": "threshold, top_k"},
            "parameter 'allow' = 'threshold, top_k': 'top_k' is not one of threshold, policy; for no parameter at all "
            "write none",
        ),
        (
            {"allow": ""},
            "parameter 'allow' = '': '' is not one of threshold, policy; for no parameter at all write none",
        ),
        ({"allow": "none, policy"}, "'none' is not one of threshold, policy"),
        ({"min_threshold": "-1"}, "parameter 'min_threshold' = '-1' is not a number in [0, 1]"),
        (
            {"min_threshold": "0.6", "max_threshold": "0.4"},
            "parameter 'min_threshold' = 0.6 is above 'max_threshold' = 0.4",
        ),
        ({"score": "entropy"}, "parameter 'score' = 'entropy' is not one of confidence, margin"),
        ({"answer": "best"}, "parameter 'answer' = 'best' is not one of big, arbitrate"),
        ({"offset": "inf"}, "parameter 'offset' = 'inf' is not a number from -100 to 100"),
        ({"max_batches_in_flight": "0"}, "parameter 'max_batches_in_flight' = '0' is not a whole number from 1 to 22"),
        ({"max_batches_in_flight": "2.5"}, "'max_batches_in_flight' = '2.5' is not a whole number from 1 to 22"),
        ({"on_big_failure": "retry"}, "parameter 'on_big_failure' = 'retry' is not one of error, little"),
        ({"big_timeout_ms": "0"}, "parameter 'big_timeout_ms' = '0' is not milliseconds from 1 to a day"),
        ({"breaker_retry_ms": "5"}, "parameter 'breaker_retry_ms' = '5' is not milliseconds from 100 to a day"),
        ({"latency_target_ms": "-1"}, "parameter 'latency_target_ms' = '-1' is not milliseconds from 0 (off) to a day"),
        ({"audit_rate": "2"}, "parameter 'audit_rate' = '2' is not a number in [0, 1]"),
        ({"audit_rows": "0"}, "parameter 'audit_rows' = '0' is not a whole number from 1 to 10000000"),
        (
            {"audit_rate": "0.1", "audit_folder": "audits"},
            "parameter 'audit_folder' = 'audits' is not an absolute path",
        ),
        ({"audit_folder": "/audits"}, "parameter 'audit_folder' keeps nothing while 'audit_rate' is 0"),
        (
            {"policy": "\n" * 10_000},
            "parameter 'policy' = '" + "\\n" * 58 + "\\...' is not one of cascade, little, big",
        ),
        ({"threshold_floor": "0.6"}, "parameter 'threshold_floor' = 0.6 is above 'threshold' = 0.5"),
        (
            {"calibrated_escalation_low": "0.2"},
            "parameters 'calibrated_escalation_low' = 0.2 and 'calibrated_escalation_high' = None are not an interval",
        ),
        (
            {"calibrated_escalation_low": "0.2", "calibrated_escalation_high": "0.1"},
            "parameters 'calibrated_escalation_low' = 0.2 and 'calibrated_escalation_high' = 0.1 are not an interval",
        ),
        ({"gate": "margin"}, "parameter 'gate' is now called 'score': rename it in config.pbtxt"),
        ({"latency_target": "50"}, "unknown parameter 'latency_target'; known are threshold, policy, allow, "),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name_and_allowed_values(wrong, message):
    with pytest.raises(BadSetting) as error:
        GateSettings.from_parameters({"threshold": "0.5", **wrong})
    assert message in str(error.value)


def test_a_missing_threshold_is_refused():
    with pytest.raises(BadSetting, match=r"^parameter 'threshold' is missing$"):
        GateSettings.from_parameters({})
