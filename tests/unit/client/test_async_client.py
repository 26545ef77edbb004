"""AsyncClient: the verbs of Client in an event loop, with its options, answers and errors."""

import asyncio
import threading

import grpc
import pytest
from fake_triton import canonical, encoded_picture, picture

from littlebig_client import (
    AsyncClient,
    Classification,
    Client,
    ClientError,
    InvalidImage,
    InvalidRequest,
    RequestRejected,
    ServerTimeout,
    ServerUnreachable,
)


def with_client(server, use, **settings):
    """What `use(client)` returns in an event loop of its own."""

    async def run():
        async with AsyncClient(server.url, **settings) as client:
            return await use(client)

    return asyncio.run(run())


async def everything(answers):
    return [answer async for answer in answers]


def test_answers_are_those_of_client(server, client, tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(encoded_picture(1))
    for image in (file, str(file), encoded_picture(2), picture(3), canonical(4)):
        asked = with_client(server, lambda c, image=image: c.classify(image, top_k=3, threshold=0.95, policy="cascade"))
        assert asked == client.classify(image, top_k=3, threshold=0.95, policy="cascade")


def test_requests_are_those_of_client(server, client):
    settings = {"top_k": 2, "threshold": 0.25, "policy": "big", "within": 2.0}
    client.classify(encoded_picture(1), **settings)
    with_client(server, lambda c: c.classify(encoded_picture(1), **settings))
    assert server.seen[0] == server.seen[1]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        ((grpc.StatusCode.INVALID_ARGUMENT, "no"), RequestRejected),
        ((grpc.StatusCode.DEADLINE_EXCEEDED, "late"), ServerTimeout),
        ((grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size"), ClientError),
    ],
)
def test_errors_are_those_of_client(server, client, tmp_path, failure, kind):
    file = tmp_path / "a.png"
    file.write_bytes(encoded_picture(1))
    server.fail_with = failure
    with pytest.raises(kind) as expected:
        client.classify(file)
    with pytest.raises(kind) as given:
        with_client(server, lambda c: c.classify(file))
    assert (type(given.value), str(given.value)) == (type(expected.value), str(expected.value))


def test_missing_file_and_missing_server_have_their_errors(server, tmp_path):
    with pytest.raises(InvalidImage, match="no such file"):
        with_client(server, lambda c: c.classify(tmp_path / "missing.png"))
    server.stop()
    with pytest.raises(ServerUnreachable, match="nothing listens there"):
        with_client(server, lambda c: c.classify(canonical(1)))


def test_answers_come_in_order_with_limited_concurrency(server):
    server.hold_label_until_seen = (0, 4)  # the first image is answered after the fourth arrives
    images = [encoded_picture(label % 10) for label in range(40)]
    answers = with_client(server, lambda c: everything(c.classify_many(images, concurrency=4)))
    assert [answer.label for answer in answers] == [label % 10 for label in range(40)]
    assert server.most_in_flight <= 4


def test_failed_image_yields_its_error_and_the_others_continue(server):
    images = [encoded_picture(1), b"junk", encoded_picture(2)]
    answers = with_client(server, lambda c: everything(c.classify_many(images)))
    assert [type(answer) for answer in answers] == [Classification, RequestRejected, Classification]


def test_images_are_read_as_answers_are_consumed(server):
    taken = 0

    async def endless():
        nonlocal taken
        while True:
            taken += 1
            yield canonical(1)

    async def use(client):
        answers = client.classify_many(endless(), concurrency=2)
        for given in range(1, 21):
            assert (await anext(answers)).label == 1
            assert taken <= given + 4
        await answers.aclose()

    with_client(server, use)


def test_source_without_a_next_image_does_not_delay_answers(server):
    async def use(client):
        images = asyncio.Queue()
        await images.put(canonical(1))

        async def source():
            while (image := await images.get()) is not None:
                yield image

        answers = client.classify_many(source())
        assert (await anext(answers)).label == 1  # although the source waits
        await images.put(canonical(2))
        assert (await anext(answers)).label == 2
        await images.put(None)
        assert await everything(answers) == []

    with_client(server, use)


def test_failing_source_raises_its_error(server):
    def source():
        yield canonical(1)
        raise OSError("the list ends here")

    with pytest.raises(OSError, match="the list ends here"):
        with_client(server, lambda c: everything(c.classify_many(source())))


def test_images_wait_for_a_restarting_server(server):
    async def use(client):
        await client.classify(canonical(1))
        server.stop()
        starting = threading.Timer(0.5, server.start)
        starting.start()
        answers = await everything(client.classify_many([canonical(label) for label in range(10)]))
        starting.join()
        return answers

    answers = with_client(server, use, retry_for=30)
    assert [getattr(answer, "label", answer) for answer in answers] == list(range(10))


def test_event_loop_runs_while_an_answer_is_awaited(server):
    server.hold = threading.Event()

    async def use(client):
        asking = asyncio.ensure_future(client.classify(canonical(1)))
        while not server.seen:
            await asyncio.sleep(0.01)
        server.hold.set()
        return await asking

    assert with_client(server, use).label == 1


def test_cancelled_request_ends_and_the_client_goes_on(server):
    server.hold = threading.Event()

    async def use(client):
        asking = asyncio.ensure_future(client.classify(canonical(1)))
        while not server.seen:
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        server.hold.set()
        return await client.classify(canonical(2))

    assert with_client(server, use).label == 2


def test_close_ends_requests_in_flight_and_later_ones(server):
    server.hold = threading.Event()

    async def use(client):
        asking = asyncio.ensure_future(client.classify(canonical(1)))
        while not server.seen:
            await asyncio.sleep(0.01)
        await client.close()
        for request in (asking, client.classify(canonical(1)), client.wait_until_ready()):
            with pytest.raises(InvalidRequest, match="this client is closed: make a new one"):
                await request

    with_client(server, use)


def test_wait_until_ready_and_score(server):
    server.score = "margin"

    async def use(client):
        await client.wait_until_ready(30)
        return await client.score()

    assert with_client(server, use) == "margin"


def test_client_of_another_event_loop_is_refused(server):
    client = AsyncClient(server.url)

    async def ask():
        return await client.classify(canonical(1))

    first, second = asyncio.new_event_loop(), asyncio.new_event_loop()
    try:
        assert first.run_until_complete(ask()).label == 1
        with pytest.raises(InvalidRequest, match="belongs to another event loop"):
            second.run_until_complete(ask())
        first.run_until_complete(client.close())
    finally:
        first.close()
        second.close()


@pytest.mark.parametrize("options", [{"threshold": 2}, {"top_k": 0}, {"concurrency": 0}])
def test_invalid_option_is_refused_by_the_call(server, options):
    async def use(client):
        with pytest.raises(InvalidRequest):
            client.classify_many([], **options)

    with_client(server, use)


def test_twins_share_their_settings():
    assert AsyncClient.__init__ is Client.__init__
