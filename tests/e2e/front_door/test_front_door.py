"""Strangers' pictures at a real server: each is answered or refused by name, and its neighbours do not notice."""

import threading

import numpy as np
import psutil
import pytest
from littlebig_preprocess import BadImage, Job, canonical_image
from tests.fuzz.corpus import hostile, seeds
from tests.fuzz.hostile import blank_png, blank_webp
from tests.fuzz.served import ask, attack, honest_pictures
from tests.unit.preprocess.reference import settings
from tritonclient.utils import InferenceServerException

from littlebig_server import TritonServer

# The tiny pair's canonical image.
SERVED = settings(32, 35)
PROMISED_MIB = 400
# Decoded one after another by an instance, some 350 MiB and a third of a second each.
LARGE = blank_webp(4_200, 3_300)
# Hostile pictures that are decoded, and take longest.
EXPENSIVE = ("48 megapixel png", "16 bit png with a key", "14 megapixel webp", "run lengths", "800 scans", "1x8000000")


@pytest.fixture(scope="module")
def door(tiny_repository):
    with TritonServer(tiny_repository) as running:
        yield running


def test_every_kind_of_picture_is_served_as_it_is_decoded_here(door):
    contents = list(seeds().values())
    for start in range(0, len(contents), 16):
        part = contents[start : start + 16]
        assert (ask(door.grpc_url, part) == np.stack([canonical_image(content, SERVED) for content in part])).all()


def refusal_here(content):
    """The words with which a picture is refused by its header, or None."""
    try:
        Job(content, SERVED)
    except BadImage as reason:
        return str(reason)
    return None


@pytest.mark.parametrize("expensive", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_hostile_pictures_are_answered_or_refused_with_the_same_words_as_here(door, expensive):
    for name, content in hostile().items():
        if (name in EXPENSIVE) != expensive:
            continue
        expected = refusal_here(content)
        try:
            assert ask(door.grpc_url, [content]).shape == (1, 32, 32, 3)
            answer = None
        except InferenceServerException as error:
            assert error.status() == "StatusCode.INVALID_ARGUMENT"  # noqa: PT017
            answer = error.message()
        if expected is None:
            assert answer is None or answer.startswith("encoded_image[0] is a damaged "), name
        else:
            assert answer == f"encoded_image[0] {expected}", name


def test_a_large_picture_does_not_hold_up_a_small_one(door):
    client_done = threading.Event()

    def send_large():
        ask(door.grpc_url, [LARGE] * 8)
        client_done.set()

    sender = threading.Thread(target=send_large)
    sender.start()
    answered = 0
    while not client_done.is_set():
        ask(door.grpc_url, honest_pictures()[:1])
        answered += 1
    sender.join()
    assert answered >= 3  # held up, it would be answered once at most


def test_a_bad_picture_is_named_by_its_position_among_large_ones(door):
    broken = blank_png(4_000, 4_000, 8, 0).replace(b"IDAT\x78", b"IDAT\x79")
    with pytest.raises(InferenceServerException, match=r"encoded_image\[1\] is a damaged PNG image"):
        ask(door.grpc_url, [LARGE, broken, honest_pictures()[0]])


@pytest.mark.slow
def test_large_pictures_of_one_request_share_the_memory_budget(door):
    processes = [
        process
        for process in psutil.Process(door.pid).children(recursive=True)
        if "preprocess" in " ".join(process.cmdline())
    ]
    assert len(processes) >= 2
    before, peak, done = sum(process.memory_info().rss for process in processes), 0, threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, sum(process.memory_info().rss for process in processes))

    watcher = threading.Thread(target=watch)
    watcher.start()
    ask(door.grpc_url, [LARGE] * 12)
    done.set()
    watcher.join()
    assert peak - before < PROMISED_MIB << 20


@pytest.mark.serial
def test_neighbours_of_the_worst_pictures_wait_at_most_a_second_more(door):
    worst = {name: content for name, content in hostile().items() if name in EXPENSIVE}
    calm = attack(door.grpc_url, 0, 3, {})
    busy = attack(door.grpc_url, 0, 7, worst)
    print(f"p99 {calm.p99():.3f} s alone, {busy.p99():.3f} s beside {busy.sent} of the worst pictures")
    assert calm.faults + busy.faults == []
    assert busy.p99() <= calm.p99() + 1.0


@pytest.mark.serial
def test_neighbours_of_mutated_pictures_get_their_own_answers(door):
    traffic = attack(door.grpc_url, 3, 6)
    assert traffic.faults == []
    assert traffic.sent > 20
