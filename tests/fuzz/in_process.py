"""Decodes mutated pictures in a child process whose memory is limited, and watches time, errors and the process."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.fuzz.corpus import hostile, seeds
from tests.fuzz.mutating import mutated

# What one picture may take: seconds of a core, MiB beyond what the process has before.
MOST_SECONDS, MOST_MIB = 2.0, 400
# The encoded file is there twice, Python's and libraries' own pools take some.
_SLACK_MIB = 150
_LONGEST_ERROR = 250
# Another process on the core's other thread may double a time: a slow picture is decoded so many times again.
_TRIES = 3


@dataclass
class Result:
    """What was decoded.

    Attributes:
        pictures: how many.
        answered: how many gave an image.
        slowest: name and seconds of a core.
        faults: what must not happen, with the picture's name.
    """

    pictures: int
    answered: int
    slowest: tuple[str, float]
    faults: list[str]


def decode_in_child(seed, *, seconds=None, count=None, with_hostile=True, keep=None):
    """Decode hostile and mutated pictures in a child process.

    Args:
        seed: of the mutations.
        seconds: stop after this time.
        count: or after this many mutations.
        with_hostile: decode the hostile pictures first.
        keep: a folder for the pictures that lead to faults.
    """
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    child = context.Process(target=_decode, args=(sending, seed, seconds, count, with_hostile, keep))
    child.start()
    sending.close()
    current, result = "the start", None
    try:
        while True:
            message = receiving.recv()
            current, result = (message, None) if isinstance(message, str) else (current, message)
    except EOFError:
        pass
    child.join()
    if result is None:
        return Result(0, 0, (current, 0.0), [f"{current}: the process ended with exit code {child.exitcode}"])
    return result


def _decode(pipe, seed, seconds, count, with_hostile, keep):
    os.environ["MALLOC_ARENA_MAX"] = "1"
    from littlebig_preprocess import BadImage, canonical_image  # noqa: PLC0415  (before memory is limited)

    from tests.unit.preprocess.reference import settings  # noqa: PLC0415

    served, originals = settings(260, 292), seeds()
    first = list(hostile().items()) if with_hostile else []
    first += list(originals.items())
    for content in originals.values():
        canonical_image(content, served)  # loads what libraries load at first use
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    most = used + (MOST_MIB + _SLACK_MIB << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    random, names, others = np.random.default_rng(seed), list(originals), list(originals.values())
    result, stop = Result(0, 0, ("", 0.0), []), time.monotonic() + (seconds or 1e9)

    def mutations():
        number = 0
        while number < (count or 1 << 60) and time.monotonic() < stop:
            name = names[random.integers(len(names))]
            yield f"{name}, mutation {number} of seed {seed}", mutated(originals[name], random, others)
            number += 1

    for pictures in (first, mutations()):
        for name, content in pictures:
            if not result.pictures % 50 or pictures is first:
                pipe.send(name)
            started, fault = time.thread_time(), None
            try:
                image = canonical_image(content, served)
                result.answered += 1
                if image.shape != (260, 260, 3):
                    fault = f"has shape {image.shape}"
            except BadImage as reason:
                text = str(reason)
                if len(text) > _LONGEST_ERROR or not text.isascii() or not text.isprintable() or "/" in text:
                    fault = f"is refused in odd words: {text!r}"
                elif "not enough memory" in text:
                    fault = "takes more memory than is allowed"
            except Exception as reason:
                fault = f"raises {reason!r}"
            taken = time.thread_time() - started
            result.pictures += 1
            result.slowest = max(result.slowest, (name, taken), key=lambda pair: pair[1])
            if taken > MOST_SECONDS:
                taken = min(_seconds_of(canonical_image, content, served) for _ in range(_TRIES))
                fault = f"takes {taken:.1f} s" if taken > MOST_SECONDS else fault
            if fault:
                result.faults.append(f"{name} {fault}")
                if keep:
                    (Path(keep) / f"{len(result.faults)}.picture").write_bytes(content)
    pipe.send(result)
    pipe.close()


def _seconds_of(canonical_image, content, served):
    started = time.thread_time()
    with contextlib.suppress(Exception):
        canonical_image(content, served)
    return time.thread_time() - started
