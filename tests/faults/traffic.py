"""Comparing clients: every answer is compared with the one computed while the server was calm."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from littlebig_client import Client, ClientError, ServerTimeout
from tests.fuzz.hostile import encoded

CLIENTS, IMAGES = 8, 1000
# Longer than any client's timeout.
_LONGEST_S = 150.0
# An answer of another image differs by at least _DISTINCT in its confidence, or in label or stage; the same image's answer
# differs by less than _EQUAL, whatever batch it is in.
_DISTINCT, _EQUAL = 1e-3, 1e-4
_SIDE, _CANDIDATES, _FEWEST = 32, 240, 8


@dataclass(frozen=True)
class Question:
    """A canonical image (an array) or a picture (PNG bytes), with its right answer.

    Attributes:
        image: what is sent.
        answer: label, stage and confidence.
    """

    image: object
    answer: tuple

    def is_answered_by(self, classification):
        """Whether a classification is this question's answer."""
        label, stage, confidence = _content(classification)
        return (label, stage) == self.answer[:2] and abs(confidence - self.answer[2]) < _EQUAL


def _content(classification):
    return classification.label, str(classification.stage), classification.confidence


def _pictures(count, seed):
    """Images of two colours in random proportions: their answers differ, unlike those of noise."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        first, second = random.integers(0, 256, (2, 3), np.uint8)
        image = np.where(random.random((_SIDE, _SIDE, 1)) < random.random(), first, second).astype(np.uint8)
        if random.integers(2):
            yield image
        else:
            yield encoded(Image.fromarray(image), "PNG")


def questions(url, seed=0, **options):
    """Images whose answers tell them apart, asked one by one of a calm server.

    Args:
        url: the server's gRPC endpoint.
        seed: of the images.
        options: of each request, such as `threshold`.
    """
    images = list(_pictures(_CANDIDATES, seed))
    with Client(url) as client:
        answers = [_content(client.classify(image, **options)) for image in images]
    chosen = []
    for image, answer in sorted(zip(images, answers, strict=True), key=lambda pair: pair[1]):
        previous = chosen[-1].answer if chosen else (None, None, 0.0)
        if answer[:2] != previous[:2] or answer[2] - previous[2] > _DISTINCT:
            chosen.append(Question(image, answer))
    stages = [question.answer[1] for question in chosen]
    if min(stages.count("little"), stages.count("big")) < _FEWEST:
        raise AssertionError(f"too few images that can be told apart: {stages}")
    np.random.default_rng(seed).shuffle(chosen)
    return chosen


@dataclass
class Outcome:
    """What the clients got.

    Attributes:
        right: images with their own answer.
        wrong: images with another answer: the worst fault there is.
        lost: images without an answer, by their error.
        unanswered: images to which the server said nothing at all; each costs one client its whole timeout.
        slowest: seconds that the longest answer took.
    """

    right: int = 0
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    slowest: float = 0.0

    @property
    def failed(self):
        """Images without an answer, by their error."""
        return self.lost + self.unanswered

    def add(self, question, answer, seconds):
        """Count an answer or a ClientError."""
        self.slowest = max(self.slowest, seconds)
        if isinstance(answer, ClientError):
            kind = self.unanswered if isinstance(answer, ServerTimeout) else self.lost
            kind.append(f"after {seconds:.1f} s: {type(answer).__name__}: {answer}")
        elif question.is_answered_by(answer):
            self.right += 1
        else:
            self.wrong.append(f"{_content(answer)} instead of {question.answer}")

    def problems(self, where):
        """What must not happen, in one line per kind, at most ten lines.

        Args:
            where: begins each line. Triton never answers the requests that wait for big in a gate that is killed
                (docs/known-issues.md): there one request of each client may stay unanswered.
        """
        excused = "little_big" in where and len(self.unanswered) <= CLIENTS
        lost = self.lost if excused else self.failed
        texts = [f"wrong answer: {text}" for text in self.wrong] + [f"lost {text}" for text in lost]
        kinds = Counter(re.sub(r"after [\d.]+ s", "", text) for text in texts)
        return [f"{where}: {text} ({count} times)" for text, count in kinds.most_common(10)]


class Traffic:
    """Clients that ask one image after another inside a `with` statement, each with its own Client.

    Attributes:
        outcome: so far; complete after the `with` statement.
    """

    def __init__(self, url, asked, **settings):
        """Keep the arguments.

        Args:
            url: the server's gRPC endpoint.
            asked: the questions, asked in turn.
            settings: of each Client; its defaults otherwise.
        """
        self._url, self._asked, self._settings = url, asked, settings
        self.outcome, self._lock, self._over = Outcome(), threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        try:
            self.wait_for(5 * len(self._threads))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._over.set()
        limit = time.monotonic() + _LONGEST_S
        for thread in self._threads:
            thread.join(max(limit - time.monotonic(), 0))
        hanging = sum(thread.is_alive() for thread in self._threads)
        self.outcome.unanswered += [f"neither an answer nor an error within {_LONGEST_S:g} s"] * hanging

    def wait_for(self, count, seconds=60.0):
        """Wait until so many more images have their answer."""
        enough, limit = self.outcome.right + count, time.monotonic() + seconds
        while self.outcome.right < enough:
            if time.monotonic() > limit:
                raise AssertionError(f"{self.outcome.right} of {enough} answers after {seconds:g} s: {self.outcome}")
            time.sleep(0.02)

    def _ask(self, number):
        own_turn = itertools.islice(itertools.cycle(self._asked), 7 * number, None)
        with Client(self._url, **self._settings) as client:
            for question in own_turn:
                if self._over.is_set():
                    return
                started = time.monotonic()
                try:
                    answer = client.classify(question.image)
                except ClientError as failure:
                    answer = failure
                with self._lock:
                    self.outcome.add(question, answer, time.monotonic() - started)
                if isinstance(answer, ClientError):  # while the server is away, not a million a minute
                    self._over.wait(0.1)


class ManyImages:
    """One `classify_many` of IMAGES images inside a `with` statement.

    Attributes:
        outcome: so far; complete after the `with` statement.
    """

    def __init__(self, url, asked, **settings):
        """Keep the arguments, as `Traffic`."""
        self._url, self._settings = url, settings
        self._asked = list(itertools.islice(itertools.cycle(asked), IMAGES))
        self.outcome = Outcome()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self):
        self._thread.start()
        self.wait_for(40)
        return self

    def __exit__(self, *_):
        self._thread.join(_LONGEST_S)
        answered = self.outcome.right + len(self.outcome.wrong) + len(self.outcome.failed)
        self.outcome.lost += ["neither an answer nor an error"] * (len(self._asked) - answered)

    def wait_for(self, count, seconds=60.0):
        """Wait until so many more images have their answer, or all have one."""
        enough, limit = self.outcome.right + count, time.monotonic() + seconds
        while self.outcome.right < enough and self._thread.is_alive() and time.monotonic() < limit:
            time.sleep(0.005)

    def _ask(self):
        with Client(self._url, **self._settings) as client:
            before = time.monotonic()
            answers = client.classify_many(question.image for question in self._asked)
            for question, answer in zip(self._asked, answers, strict=True):
                self.outcome.add(question, answer, time.monotonic() - before)
                before = time.monotonic()
