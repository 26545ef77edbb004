"""The load that a page shows, from Triton's metrics."""

import pytest

from littlebig_playground.load import Load, NoMetrics, between, parse

TEXT = """\
# HELP littlebig_images_total Images answered
# TYPE littlebig_images_total counter
littlebig_images_total{{model="little_big",reason="sure",stage="little"}} {sure}
littlebig_images_total{{model="little_big",reason="unsure",stage="big"}} {unsure}
littlebig_images_total{{model="little_big",reason="policy",stage="big"}} {policy}
# HELP nv_inference_request_success Number of successful inference requests
# TYPE nv_inference_request_success counter
nv_inference_request_success{{model="little",version="1"}} {requests}
nv_inference_request_success{{model="big",version="1"}} 10
# TYPE nv_inference_exec_count counter
nv_inference_exec_count{{model="little",version="1"}} {requests}
nv_inference_exec_count{{model="big",version="1"}} 5
# TYPE nv_inference_count counter
nv_inference_count{{model="little",version="1"}} {requests}
nv_inference_count{{model="big",version="1"}} 20
# TYPE nv_inference_request_duration_us counter
nv_inference_request_duration_us{{model="little",version="1"}} {duration}
# TYPE nv_inference_compute_infer_duration_us counter
nv_inference_compute_infer_duration_us{{model="little",version="1"}} {duration}
nv_inference_compute_infer_duration_us{{model="big",version="1"}} 80000
"""


def reading(at, *, sure=0, unsure=0, policy=0, requests=0, duration=0):
    return parse(TEXT.format(sure=sure, unsure=unsure, policy=policy, requests=requests, duration=duration), at)


def test_load_is_the_difference_of_two_readings():
    before = reading(10, sure=100, unsure=50, requests=100, duration=100_000)
    load = between(before, reading(12, sure=106, unsure=52, policy=4, requests=110, duration=130_000))
    assert load["images_per_second"] == 6
    assert load["escalated"] == 0.25, "images by policy are no decision of the score"
    assert load["little_ms"] == 3
    assert load["big_ms"] is None, "big was not asked"


def test_cost_counts_a_batch_once():
    # big: 10 requests in 5 batches of 4 images; the duration of a batch is counted for both of its requests.
    load = between(reading(0), reading(1, requests=10, duration=10_000))
    assert load["cost"] == pytest.approx((10_000 / 10) / (80_000 / 10 * 5 / 20))


def test_lower_counters_mean_a_restart():
    before, after = reading(0, sure=5, requests=5), reading(1, sure=2, requests=2)
    assert after.after_restart(before)
    assert not before.after_restart(after)


def test_server_without_metrics_is_named():
    with pytest.raises(
        NoMetrics, match=r"^no metrics at 127\.0\.0\.1:1: name Triton's metrics port with --metrics-url$"
    ):
        Load("127.0.0.1:1").read()
