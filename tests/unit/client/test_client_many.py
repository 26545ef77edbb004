"""classify_many: order, concurrency, bounded memory, failures."""

import threading

import pytest
from fake_triton import canonical, encoded_picture, picture

from littlebig_client import Classification, Client, InvalidImage, InvalidRequest, RequestRejected, ServerUnreachable


def test_answers_come_in_the_order_of_the_images(server, client):
    server.hold_label_until_seen = (0, 4)  # the first image is answered after the fourth arrives
    answers = client.classify_many([encoded_picture(label) for label in range(8)], concurrency=4)
    assert [answer.label for answer in answers] == list(range(8))


def test_one_call_accepts_every_kind_of_image(client, tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(encoded_picture(1))
    answers = client.classify_many([file, encoded_picture(2), picture(3), canonical(4), str(file)])
    assert [answer.label for answer in answers] == [1, 2, 3, 4, 1]


def test_requests_in_flight_are_limited_by_concurrency(server, client):
    assert len(list(client.classify_many([encoded_picture(1)] * 40, concurrency=3))) == 40
    assert server.most_in_flight <= 3


def test_images_are_read_as_answers_are_consumed(client):
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield encoded_picture(1)

    answers = client.classify_many(endless(), concurrency=2)
    for given in range(1, 21):
        assert next(answers).label == 1
        assert taken <= given + 4
    answers.close()


def test_slow_source_does_not_delay_finished_answers(client):
    first_answered = threading.Event()

    def slow():
        yield encoded_picture(1)
        for _ in range(1000):
            # Ends with the first answer. If the source delayed it, the answer would come after 2,000 images only.
            yield encoded_picture(2)
            if first_answered.wait(0.05):
                return

    answers = client.classify_many(slow(), concurrency=1000)
    assert next(answers).label == 1
    first_answered.set()
    assert all(answer.label == 2 for answer in answers)


def test_failed_image_yields_its_error_and_the_others_continue(client, tmp_path):
    missing = tmp_path / "missing.png"
    answers = list(client.classify_many([encoded_picture(1), b"junk", missing, encoded_picture(2)]))
    assert [type(answer) for answer in answers] == [Classification, RequestRejected, InvalidImage, Classification]
    assert str(answers[2]) == f"{missing}: no such file"


def test_stored_error_does_not_keep_the_image_alive(client):
    (error,) = client.classify_many([b"junk"])
    assert error.__traceback__ is None
    assert error.__context__ is None


def test_without_a_server_every_image_yields_server_unreachable(server):
    server.stop()
    with Client(server.url) as client:
        answers = list(client.classify_many([encoded_picture(1)] * 3))
    assert [type(answer) for answer in answers] == [ServerUnreachable] * 3


def test_options_reach_every_request(server, client):
    answers = client.classify_many([encoded_picture(1)] * 3, top_k=2, threshold=0.25, policy="little")
    assert [len(answer.top_k) for answer in answers] == [2, 2, 2]
    assert [seen.parameters for seen in server.seen] == [{"threshold": 0.25, "policy": "little"}] * 3


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, True])
def test_invalid_concurrency_is_refused_by_the_call(client, concurrency):
    with pytest.raises(InvalidRequest) as refused:
        client.classify_many([], concurrency=concurrency)
    assert str(refused.value) == f"concurrency must be a whole number of at least 1, not {concurrency!r}"


def test_no_images_give_no_answers(client):
    assert list(client.classify_many([])) == []


def test_exception_of_the_source_reaches_the_caller(client):
    def broken():
        yield encoded_picture(1)
        raise RuntimeError("the camera is unplugged")

    with pytest.raises(RuntimeError, match="the camera is unplugged"):
        list(client.classify_many(broken()))
