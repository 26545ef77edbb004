"""A batch's decisions and responses, with stages that are functions."""

import math

import numpy as np
import pytest
from littlebig_batch import Batch
from littlebig_errors import BigFailure
from littlebig_metrics import Tally
from littlebig_overload import ThresholdScaling
from littlebig_settings import GateSettings
from tests.unit.gate.batches import (
    LITTLE_STANDS_IN,
    ask_big,
    counted,
    decided,
    failing,
    little,
    make_request,
    plain,
    rows_for_big,
)

CALLER_TIMEOUT = ("UNAVAILABLE", "Request timeout expired before stage 'big' answered: allow the request more time")


def test_sure_requests_do_not_wait_for_unsure_ones():
    sure, unsure = make_request(90), make_request(10)
    batch, _ = decided(sure, unsure)
    assert batch.waiting == [unsure]
    assert (sure.waits_for_big, unsure.waits_for_big) == (False, True)
    assert plain(batch.response(sure)) == {"stage": [0], "label": [90], "confidence": [pytest.approx(0.9)]}


def test_only_the_unsure_images_of_a_request_go_to_big():
    mixed = make_request(90, 10, 80, 20)
    batch, tally = decided(mixed)
    assert batch.images(rows_for_big(batch)).pixels[:, 0, 0, 0].tolist() == [10, 20]
    ask_big(batch)
    assert plain(batch.response(mixed))["label"] == [90, 1010, 80, 1020]
    assert plain(batch.response(mixed))["stage"] == [0, 1, 0, 1]
    assert counted(tally) == {"little/sure": 2, "big/unsure": 2}


def test_each_caller_gets_the_outputs_it_asked_for():
    label, probabilities = make_request(90, outputs=("label",)), make_request(80, outputs=("probabilities",))
    batch, _ = decided(label, probabilities)
    assert set(batch.response(label)) == {"label"}
    assert batch.response(probabilities)["probabilities"].shape == (1, 4)


def test_policies_are_kept_and_counted_apart():
    requests = [make_request(10, policy="little"), make_request(90, policy="big"), make_request(90)]
    batch, tally = decided(*requests)
    assert batch.waiting == [requests[1]]
    ask_big(batch)
    assert [plain(batch.response(request))["stage"] for request in requests] == [[0], [1], [0]]
    assert counted(tally) == {"little/policy": 1, "big/policy": 1, "little/sure": 1}


def test_a_failed_call_of_little_fails_only_the_requests_that_need_it():
    cascade, only_big = make_request(90), make_request(90, policy="big")
    batch, tally = decided(cascade, only_big, stage=failing)
    assert plain(batch.response(cascade)) == ("INTERNAL", "stage 'little' failed: it broke")
    assert batch.waiting == [only_big]
    ask_big(batch)
    assert plain(batch.response(only_big))["label"] == [1090]
    assert counted(tally, "littlebig_image_errors_total") == {"little": 1}


def test_a_failure_of_big_is_an_error_for_its_requests():
    sure, unsure = make_request(90), make_request(90, 10)
    batch, tally = decided(sure, unsure)
    batch.finish_without_big(batch.waiting, BigFailure("error", "it is unloaded"))
    assert plain(batch.response(sure))["label"] == [90]
    assert plain(batch.response(unsure)) == ("INTERNAL", "stage 'big' failed: it is unloaded")
    assert counted(tally, "littlebig_big_failures_total") == {"error": 1}


def test_little_stands_in_for_big_where_settings_allow_it():
    unsure, only_big = make_request(90, 10), make_request(20, policy="big")
    batch, tally = decided(unsure, only_big, settings=LITTLE_STANDS_IN)
    batch.finish_without_big(batch.waiting, BigFailure("timeout", "no answer within 50 ms"))
    assert plain(batch.response(unsure)) == {
        "stage": [0, 2],
        "label": [90, 10],
        "confidence": [pytest.approx(0.9), pytest.approx(0.1)],
    }
    assert plain(batch.response(only_big)) == ("INTERNAL", "stage 'big' failed: no answer within 50 ms")
    assert counted(tally) == {"little/sure": 1, "little/big_failed": 1}


def test_answers_of_big_with_a_wrong_shape_are_an_error():
    sure, unsure = make_request(90), make_request(10)
    batch, tally = decided(sure, unsure, settings=LITTLE_STANDS_IN)
    wrong = {"label": np.array([[1]], np.int32), "confidence": np.zeros((1, 7), np.float32)}
    batch.finish_with_big(batch.waiting, [1], wrong)
    assert plain(batch.response(sure))["label"] == [90]
    code, message = plain(batch.response(unsure))
    assert code == "INTERNAL"
    assert message.startswith("stage 'big' failed: ValueError: ")
    assert counted(tally, "littlebig_big_failures_total") == {"error": 1}


def test_shed_requests_are_answered_by_little_with_stage_3():
    surer, unsure = make_request(40), make_request(10)
    batch, tally = decided(surer, unsure, scaling=ThresholdScaling(wait_s=0.35, target_s=1.0))
    assert batch.waiting == [unsure]
    assert plain(batch.response(surer))["stage"] == [3]
    ask_big(batch)
    assert counted(tally) == {"little/overload": 1, "big/unsure": 1}


def test_a_batch_waits_for_a_slot_as_long_as_its_most_patient_caller():
    assert decided(make_request(90, timeout_us=2000), make_request(10, timeout_us=30_000))[0].max_wait_s() == 0.03
    assert decided(make_request(90, timeout_us=2000), make_request(10))[0].max_wait_s() is None


def test_without_a_slot_all_requests_are_finished_without_big():
    sure, unsure, only_big = make_request(90), make_request(10, 80), make_request(70, policy="big")
    batch, tally = decided(sure, unsure, only_big, settings=LITTLE_STANDS_IN)
    batch.give_up()
    assert batch.waiting == []
    assert [request.waits_for_big for request in (sure, unsure, only_big)] == [False] * 3
    assert plain(batch.response(sure))["stage"] == [0]
    assert plain(batch.response(unsure))["stage"] == [2, 0]
    assert plain(batch.response(only_big)) == CALLER_TIMEOUT
    assert counted(tally) == {"little/sure": 2, "little/big_failed": 1}


def test_the_margin_decides_where_it_is_the_score():
    sure, unsure = make_request(10), make_request(90)  # margins of 0.9 and 0.1
    batch, _ = decided(sure, unsure, settings=GateSettings(0.5, score="margin"))
    assert batch.waiting == [unsure]
    assert "margin" not in batch.response(sure)


def test_arbitration_keeps_littles_answer_where_it_is_surer():
    settings = GateSettings(0.8, answer="arbitrate", offset=0.5)
    little_wins, big_wins = make_request(70, threshold=0.8), make_request(55, threshold=0.8)
    batch, tally = decided(little_wins, big_wins, settings=settings)
    ask_big(batch)
    assert plain(batch.response(little_wins))["label"] == [70]
    assert plain(batch.response(little_wins))["stage"] == [0]
    assert plain(batch.response(big_wins))["label"] == [1055]
    assert counted(tally) == {"little/arbitrated": 1, "big/unsure": 1}


def test_arbitration_decides_each_row_by_itself():
    mixed = make_request(70, 55, 95, threshold=0.8)
    batch, _ = decided(mixed, settings=GateSettings(0.8, answer="arbitrate", offset=0.5))
    ask_big(batch)
    assert plain(batch.response(mixed))["label"] == [70, 1055, 95]
    assert plain(batch.response(mixed))["stage"] == [0, 1, 0]


def test_arbitration_leaves_rows_of_policy_big_to_big():
    only_big = make_request(99, policy="big")
    batch, _ = decided(only_big, settings=GateSettings(0.8, answer="arbitrate", offset=-100.0))
    ask_big(batch)
    assert plain(batch.response(only_big))["label"] == [1099]


def test_images_that_one_request_brought_alone_are_passed_on_as_its_tensor():
    alone, unsure = make_request(90), make_request(10, 20)
    calls = []

    def watched(images, outputs, timeout_us):
        calls.append(images)
        return little(images, outputs, timeout_us)

    decided(alone, stage=watched)
    assert calls[0] is alone.images
    batch, _ = decided(make_request(90), unsure, make_request(80))
    assert batch.images(rows_for_big(batch)) is unsure.images
    batch, _ = decided(make_request(90, 10), make_request(80))
    assert batch.images(rows_for_big(batch)).tensor is None  # one of two images of a request


def test_images_are_gathered_in_the_buffer_if_they_fit():
    calls, buffer = [], np.zeros((3, 2, 2, 3), np.uint8)

    def watched(images, outputs, timeout_us):
        calls.append(images)
        return little(images, outputs, timeout_us)

    for requests in ([make_request(1), make_request(2, 3)], [make_request(4), make_request(5, 6, 7)]):
        Batch(requests, GateSettings(0.5), Tally()).ask_little(watched, buffer)
    fits, too_many = (images.pixels for images in calls)
    assert np.shares_memory(fits, buffer)
    assert not np.shares_memory(too_many, buffer)
    assert [images[:, 0, 0, 0].tolist() for images in (fits, too_many)] == [[1, 2, 3], [4, 5, 6, 7]]


def test_read_only_outputs_of_little_are_copied_before_big_writes_into_them():
    answers = []

    def read_only(images, outputs, timeout_us):
        answers.append(little(images, outputs, timeout_us))
        for array in answers[0].values():
            array.flags.writeable = False
        return answers[0]

    mixed = make_request(90, 10)
    batch, _ = decided(mixed, stage=read_only)
    ask_big(batch)
    assert plain(batch.response(mixed))["label"] == [90, 1010]
    assert answers[0]["label"].ravel().tolist() == [90, 10]


def test_rows_to_audit_are_those_that_little_decided_by_its_score():
    requests = (
        make_request(90, 10, 80),
        make_request(70, policy="little"),
        make_request(5),
        make_request(1, policy="big"),
    )
    batch, _ = decided(*requests)
    assert batch.rows_to_audit(unsure=False) == [0, 2]
    assert batch.rows_to_audit(unsure=True) == [0, 1, 2, 4]


def test_shed_rows_are_audited_with_the_unsure_ones_and_rows_without_an_answer_are_not():
    batch, _ = decided(make_request(10), scaling=ThresholdScaling(wait_s=9, per_image_s=9, target_s=1, floor=0))
    assert batch.rows_to_audit(unsure=True) == [0]
    batch, _ = decided(make_request(90), stage=failing)
    assert batch.rows_to_audit(unsure=True) == []


def test_a_chosen_row_has_a_copy_of_its_image_and_littles_answer():
    request = make_request(90, 10)
    batch, _ = decided(make_request(80), request, settings=GateSettings(0.5, audit_rate=1, audit_folder="/audits"))
    sure, unsure = batch.chosen(1), batch.chosen(2)
    request.images.pixels[:] = 0
    assert (sure.image[0, 0, 0, 0], unsure.image[0, 0, 0, 0]) == (90, 10)
    assert sure.little == (90, pytest.approx(0.9), pytest.approx(0.1))
    assert (sure.sure, unsure.sure) == (True, False)


def test_without_a_folder_littles_margin_is_not_asked_for():
    batch, _ = decided(make_request(80))
    assert math.isnan(batch.chosen(0).little.margin)


def test_scores_of_images_for_big_alone_are_not_counted():
    _, tally = decided(make_request(90), make_request(90, policy="big"))
    counts, _ = tally.take()
    assert counts["littlebig_score_count", ()] == 1


def test_bigs_answers_do_not_change_the_histogram_of_littles_scores():
    batch, tally = decided(make_request(10, 90))
    ask_big(batch)  # with confidences of 0.5
    counts, _ = tally.take()
    assert counts["littlebig_score_sum", ()] == pytest.approx(1.0)


def test_scores_are_counted_as_a_histogram():
    _, tally = decided(make_request(5, 10, 95, 100))
    counts, _ = tally.take()
    at_most = {dict(labels)["le"]: n for (name, labels), n in counts.items() if name == "littlebig_score_bucket"}
    assert (at_most["0.1"], at_most["0.9"], at_most["0.95"], at_most["0.99"], at_most["+Inf"]) == (2, 2, 3, 3, 4)
    assert counts["littlebig_score_count", ()] == 4
    assert counts["littlebig_score_sum", ()] == pytest.approx(2.1)
