"""A batch's way through the gate, with stages that are functions."""

import numpy as np
import pytest
from littlebig_batch import CANCELLED, TIMED_OUT, Accepted, Batch
from littlebig_escalation import Failure, StageFailed
from littlebig_gate import Options
from littlebig_images import Images
from littlebig_metrics import Tally
from littlebig_overload import NO_RELIEF, Relief
from littlebig_settings import Settings

WANTED = ("label", "confidence", "stage")


def request(*pixels, wanted=WANTED, timeout_us=0, threshold=0.5, policy="cascade"):
    """A request of one image per pixel value; little's confidence is the pixel / 100, its label the pixel."""
    images = np.zeros((len(pixels), 2, 2, 3), np.uint8)
    images[:, 0, 0, 0] = pixels
    return Accepted(None, Images(images, tensor=object()), wanted, timeout_us, Options(threshold, policy))


def little(images, outputs, timeout_us):
    pixels = images.pixels[:, 0, 0, :1]
    made = {
        "label": pixels.astype(np.int32),
        "confidence": pixels.astype(np.float32) / 100,
        "margin": 1 - pixels.astype(np.float32) / 100,
        "probabilities": np.tile(pixels.astype(np.float32), (1, 4)),
    }
    return {name: made[name] for name in outputs}


def big(images, outputs=("label", "confidence")):
    pixels = images.pixels[:, 0, 0, :1]
    made = {"label": 1000 + pixels.astype(np.int32), "confidence": np.full(pixels.shape, 0.5, np.float32)}
    return {name: made[name] for name in outputs}


def nobody(one):
    """Whose caller has gone."""
    return False


def failing(images, outputs, timeout_us):
    raise StageFailed("it broke")


def through(*requests, settings=None, relief=NO_RELIEF, stage=little):
    tally = Tally()
    batch = Batch(requests, settings or Settings(0.5), tally)
    batch.ask_little(stage)
    batch.plan(relief)
    return batch, tally


def told(batch, one):
    answer = batch.answer(one)
    return answer if isinstance(answer, str) else {name: array.ravel().tolist() for name, array in answer.items()}


def counted(tally, name="littlebig_images_total"):
    added, _ = tally.take()
    return {
        "/".join(value for _, value in sorted(labels, reverse=True)): n
        for (of, labels), n in added.items()
        if of == name and n
    }


def test_sure_requests_need_not_wait_for_the_unsure_ones():
    sure, unsure = request(90), request(10)
    batch, _ = through(sure, unsure)
    assert batch.waiting == [unsure]
    assert told(batch, sure) == {"stage": [0], "label": [90], "confidence": [pytest.approx(0.9)]}


def test_only_the_unsure_images_of_a_request_go_to_big():
    mixed = request(90, 10, 80, 20)
    batch, tally = through(mixed)
    images = batch.escalated(nobody)
    assert images.pixels[:, 0, 0, 0].tolist() == [10, 20]
    batch.take(big(images))
    assert told(batch, mixed)["label"] == [90, 1010, 80, 1020]
    assert told(batch, mixed)["stage"] == [0, 1, 0, 1]
    assert counted(tally) == {"little/sure": 2, "big/unsure": 2}


def test_each_caller_gets_the_outputs_it_asked_for():
    modest, greedy = request(90, wanted=("label",)), request(80, wanted=("probabilities",))
    batch, _ = through(modest, greedy)
    assert set(batch.answer(modest)) == {"label"}
    assert batch.answer(greedy)["probabilities"].shape == (1, 4)


def test_policies_are_kept_and_counted_apart():
    requests = [request(10, policy="little"), request(90, policy="big"), request(90)]
    batch, tally = through(*requests)
    assert batch.waiting == [requests[1]]
    batch.take(big(batch.escalated(nobody)))
    assert [told(batch, one)["stage"] for one in requests] == [[0], [1], [0]]
    assert counted(tally) == {"little/policy": 1, "big/policy": 1, "little/sure": 1}


def test_a_broken_little_fails_those_who_need_it_and_nobody_else():
    cascade, only_big = request(90), request(90, policy="big")
    batch, tally = through(cascade, only_big, stage=failing)
    assert told(batch, cascade) == "stage 'little' failed: it broke"
    assert batch.waiting == [only_big]
    batch.take(big(batch.escalated(nobody)))
    assert told(batch, only_big)["label"] == [1090]
    assert counted(tally, "littlebig_image_errors_total") == {"little": 1}


def test_without_big_its_callers_are_told():
    sure, unsure = request(90), request(90, 10)
    batch, tally = through(sure, unsure)
    batch.take(Failure("error", "it is gone"))
    assert told(batch, sure)["label"] == [90]
    assert told(batch, unsure) == "stage 'big' failed: it is gone"
    assert counted(tally, "littlebig_big_failures_total") == {"error": 1}


def test_without_big_little_answers_where_it_may_and_says_so():
    settings = Settings(0.5, on_big_failure="little")
    unsure, only_big = request(90, 10), request(20, policy="big")
    batch, tally = through(unsure, only_big, settings=settings)
    batch.take(Failure("timeout", "no answer within 50 ms"))
    assert told(batch, unsure) == {
        "stage": [0, 2],
        "label": [90, 10],
        "confidence": [pytest.approx(0.9), pytest.approx(0.1)],
    }
    assert told(batch, only_big) == "stage 'big' failed: no answer within 50 ms"
    assert counted(tally) == {"little/sure": 1, "little/big_failed": 1}


def test_an_answer_of_big_that_cannot_be_taken_is_an_error_and_not_half_an_answer():
    settings = Settings(0.5, on_big_failure="little")
    sure, unsure = request(90), request(10)
    batch, tally = through(sure, unsure, settings=settings)
    batch.escalated(nobody)
    batch.take({"label": np.array([[1]], np.int32), "confidence": np.zeros((1, 7), np.float32)})
    assert told(batch, sure)["label"] == [90]
    assert told(batch, unsure).startswith("stage 'big' failed: ValueError: ")
    assert counted(tally, "littlebig_big_failures_total") == {"error": 1}


def test_under_relief_the_spared_are_answered_by_little_and_marked():
    spared, unsure = request(40), request(10)
    batch, tally = through(spared, unsure, relief=Relief(wait=0.35, target=1.0))
    assert batch.waiting == [unsure]
    assert told(batch, spared)["stage"] == [3]
    batch.take(big(batch.escalated(nobody)))
    assert counted(tally) == {"little/overload": 1, "big/unsure": 1}


def test_a_batch_is_as_patient_as_its_most_patient_caller():
    assert through(request(90, timeout_us=2000), request(10, timeout_us=30_000))[0].patience() == 0.03
    assert through(request(90, timeout_us=2000), request(10))[0].patience() is None


def test_without_room_at_big_nobody_waits_for_it():
    settings = Settings(0.5, on_big_failure="little")
    sure, unsure, only_big = request(90), request(10, 80), request(70, policy="big")
    batch, tally = through(sure, unsure, only_big, settings=settings)
    batch.give_up_all()
    assert batch.waiting == []
    assert [one.waits for one in (sure, unsure, only_big)] == [False] * 3
    assert told(batch, sure)["stage"] == [0]
    assert told(batch, unsure)["stage"] == [2, 0]
    assert told(batch, only_big) == TIMED_OUT
    assert counted(tally) == {"little/sure": 2, "little/big_failed": 1}


def test_cancelled_requests_are_taken_out_before_big_is_asked():
    gone, here = request(10, 90), request(20)
    batch, _ = through(gone, here)
    images = batch.escalated(lambda one: one is gone)
    assert images.pixels[:, 0, 0, 0].tolist() == [20]
    batch.take(big(images))
    assert told(batch, gone) == CANCELLED
    assert told(batch, here)["label"] == [1020]


def test_when_all_callers_are_gone_nothing_is_left_to_ask():
    gone = request(10)
    batch, _ = through(gone)
    assert len(batch.escalated(lambda one: True)) == 0
    batch.take({})
    assert told(batch, gone) == CANCELLED


def test_the_margin_decides_where_the_pair_gates_on_it():
    sure, unsure = request(10), request(90)  # margins of 0.9 and 0.1
    batch, _ = through(sure, unsure, settings=Settings(0.5, gate="margin"))
    assert batch.waiting == [unsure]
    assert "margin" not in batch.answer(sure)


def test_arbitration_keeps_littles_answer_where_it_is_surer_and_counts_it():
    settings = Settings(0.8, answer="arbitrate", offset=0.5)
    little_wins, big_wins = request(70, threshold=0.8), request(55, threshold=0.8)
    batch, tally = through(little_wins, big_wins, settings=settings)
    batch.take(big(batch.escalated(nobody)))
    assert told(batch, little_wins)["label"] == [70]
    assert told(batch, little_wins)["stage"] == [0]
    assert told(batch, big_wins)["label"] == [1055]
    assert counted(tally) == {"little/arbitrated": 1, "big/unsure": 1}


def test_arbitration_takes_each_row_for_itself():
    mixed = request(70, 55, 95, threshold=0.8)
    batch, _ = through(mixed, settings=Settings(0.8, answer="arbitrate", offset=0.5))
    batch.take(big(batch.escalated(nobody)))
    assert told(batch, mixed)["label"] == [70, 1055, 95]
    assert told(batch, mixed)["stage"] == [0, 1, 0]


def test_arbitration_has_nothing_to_say_where_little_was_not_asked():
    only_big = request(99, policy="big")
    batch, _ = through(only_big, settings=Settings(0.8, answer="arbitrate", offset=-100.0))
    batch.take(big(batch.escalated(nobody)))
    assert told(batch, only_big)["label"] == [1099]


def test_a_batch_waits_as_long_as_its_most_patient_caller():
    batch, _ = through(request(10, timeout_us=100), request(10, timeout_us=300), request(90))
    assert batch.timeout_us() == 300
    batch, _ = through(request(10, timeout_us=100), request(10), request(90))
    assert batch.timeout_us() == 0


def test_what_one_request_brought_is_passed_on_as_it_is():
    alone, unsure = request(90), request(10, 20)
    given = []

    def watched(images, outputs, timeout_us):
        given.append(images)
        return little(images, outputs, timeout_us)

    through(alone, stage=watched)
    assert given[0] is alone.images
    batch, _ = through(request(90), unsure, request(80))
    assert batch.escalated(nobody) is unsure.images
    batch, _ = through(request(90, 10), request(80))
    assert batch.escalated(nobody).tensor is None  # of two images that one request brought, one


def test_the_images_of_a_batch_are_put_into_the_room_for_them():
    given, room = [], np.zeros((3, 2, 2, 3), np.uint8)

    def watched(images, outputs, timeout_us):
        given.append(images)
        return little(images, outputs, timeout_us)

    for requests in ([request(1), request(2, 3)], [request(4), request(5, 6, 7)]):
        Batch(requests, Settings(0.5), Tally()).ask_little(watched, room)
    fits, too_many = (images.pixels for images in given)
    assert np.shares_memory(fits, room)
    assert not np.shares_memory(too_many, room)
    assert [images[:, 0, 0, 0].tolist() for images in (fits, too_many)] == [[1, 2, 3], [4, 5, 6, 7]]


def test_sure_images_are_those_that_little_alone_decided():
    batch, _ = through(request(90, 10, 80), request(70, policy="little"), request(5))
    ((images, labels),) = batch.sure()
    assert images[:, 0, 0, 0].tolist() == [90, 80]
    assert labels.ravel().tolist() == [90, 80]


def test_what_big_says_does_not_change_the_histogram_of_littles_scores():
    batch, tally = through(request(10, 90))
    batch.take(big(batch.escalated(nobody)))  # with confidences of 0.5
    added, _ = tally.take()
    assert added["littlebig_score_sum", ()] == pytest.approx(1.0)


def test_the_scores_are_counted_as_a_histogram():
    _, tally = through(request(5, 10, 95, 100))
    added, _ = tally.take()
    at_most = {dict(labels)["le"]: n for (name, labels), n in added.items() if name == "littlebig_score_bucket"}
    assert (at_most["0.1"], at_most["0.9"], at_most["0.95"], at_most["0.99"], at_most["+Inf"]) == (2, 2, 3, 3, 4)
    assert added["littlebig_score_count", ()] == 4
    assert added["littlebig_score_sum", ()] == pytest.approx(2.1)
