"""Who decodes what, when: quick pictures at once, large ones one after another, within one memory budget.

Quick pictures cost so little that all threads may decode one at the same time. Large ones wait in a lane of their own,
so that a neighbour's answer never waits for a large picture. The lane's threads have no lower priority: on a busy
machine one that holds a lock and gets no CPU time would stop the watchdog, which then ends the process. Every thread's
memory is bounded by what it accepts; together they are the budget.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from littlebig_limits import BadImage, Limits, positive, quoted
from littlebig_preprocess import Job, PreprocessSettings

Array = npt.NDArray[np.uint8]

# A picture is quick below both: most photographs of 24 megapixels are. A batch of 32 holds up its instance for three
# seconds of one core at most, and the others answer meanwhile.
QUICK_MS, QUICK_MIB = 100, 48
# Encoded pictures that wait in the lane of large ones, bytes. Triton keeps each request in shared memory.
_MOST_WAITING = 128 << 20
# What one large picture needs at least to be worth a lane.
_LEAST_LARGE_MIB = 16


class Overloaded(Exception):
    """Too many large pictures wait."""


@dataclass(frozen=True)
class LaneSettings:
    """How many pictures one process decodes at a time.

    Attributes:
        threads: for quick pictures.
        large_threads: for large ones.
        large_mib: memory of one large picture, MiB.
    """

    threads: int
    large_threads: int
    large_mib: int

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str], instances: int, limits: Limits) -> LaneSettings:
        """Divide the memory budget among the model's processes and their threads.

        Args:
            parameters: of config.pbtxt.
            instances: processes of the model.
            limits: `max_decode_mib` is what a large picture may take where the budget allows it.

        Raises:
            ValueError: if a parameter is wrong, or the budget holds no large picture.
        """
        threads, budget = positive(parameters, "threads"), positive(parameters, "memory_budget_mib")
        share = budget // instances
        threads = max(1, min(threads, (share - min(limits.max_decode_mib, share)) // QUICK_MIB))
        left = share - threads * QUICK_MIB
        if left < _LEAST_LARGE_MIB:
            least = instances * (QUICK_MIB + _LEAST_LARGE_MIB)
            raise ValueError(f"parameter 'memory_budget_mib' = {budget} is below {least}, for {instances} instances")
        large_mib = min(limits.max_decode_mib, left)
        return cls(threads, max(1, min(threads, left // large_mib)), large_mib)

    def within(self, limits: Limits) -> Limits:
        """The limits with the memory that a large picture has."""
        if self.large_mib >= limits.max_decode_mib:
            return limits
        return replace(limits, max_decode_mib=self.large_mib, memory_parameter="memory_budget_mib")


@dataclass
class PendingRequest:
    """A request's pictures, all decoded but the large ones.

    Attributes:
        images: uint8 [pictures, size, size, 3], filled as pictures are done.
        jobs: position and job of each large picture that is left.
        answer: called once, with the images or the error of one of them.
        wanted: whether the caller still waits for the answer.
    """

    images: Array
    jobs: deque[tuple[int, Job]]
    answer: Callable[[Array | BadPicture], None]
    wanted: Callable[[], bool]


class BadPicture(Exception):
    """A request's picture that is refused.

    Attributes:
        position: in the request.
    """

    def __init__(self, position: int, reason: BadImage) -> None:
        """Keep the position with the reason."""
        super().__init__(f"encoded_image[{position}] {reason}")


class Lanes:
    """The threads of one process."""

    def __init__(
        self, settings: PreprocessSettings, lanes: LaneSettings, render: Callable[[Job], Array] = Job.image
    ) -> None:
        """Start the threads.

        Args:
            settings: size and limits.
            lanes: how many pictures at a time.
            render: makes a job's canonical image.
        """
        self._render = render
        self._settings = replace(settings, limits=lanes.within(settings.limits))
        self._quick = ThreadPoolExecutor(max_workers=lanes.threads, thread_name_prefix="decode")
        self._changed = threading.Condition()
        self._waiting: deque[PendingRequest] = deque()
        self._bytes = 0
        self._closing = False
        self._large = [
            threading.Thread(target=self._run, name=f"decode-large-{index}") for index in range(lanes.large_threads)
        ]
        for thread in self._large:
            thread.start()

    def start(self, pictures: Sequence[bytes]) -> list[Future[Array | Job]]:
        """Read each picture's header, and decode the quick ones.

        Returns:
            For each picture a future of its image, or of its job if it is large; BadImage is raised by `result`.
        """
        return [self._quick.submit(self._begin, picture) for picture in pictures]

    def gather(self, started: Sequence[Future[Array | Job]]) -> tuple[Array, deque[tuple[int, Job]]]:
        """Wait for a request's quick pictures.

        Returns:
            Images [pictures, size, size, 3], and the jobs of the large pictures whose images are missing.

        Raises:
            BadPicture: if one of the pictures is refused.
        """
        size = self._settings.fit.size
        images = np.zeros((len(started), size, size, 3), np.uint8)
        jobs: deque[tuple[int, Job]] = deque()
        for position, future in enumerate(started):
            try:
                result = future.result()
            except Exception as reason:
                raise BadPicture(position, _as_bad_image(reason)) from None
            if isinstance(result, Job):
                jobs.append((position, result))
            else:
                images[position] = result
        return images, jobs

    def wait(self, waiting: PendingRequest) -> None:
        """Decode a request's large pictures when it is their turn, and answer it then.

        Raises:
            Overloaded: if too many wait already.
        """
        length = _length(waiting)
        with self._changed:
            if self._bytes and self._bytes + length > _MOST_WAITING:
                raise Overloaded(
                    f"{self._bytes >> 20} MiB of large pictures wait to be decoded already: send it again later"
                )
            self._bytes += length
            self._waiting.append(waiting)
            self._changed.notify()

    def close(self) -> None:
        """Stop when all that waits is answered."""
        self._quick.shutdown()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._large:
            thread.join()

    def _begin(self, picture: bytes) -> Array | Job:
        job = Job(picture, self._settings)
        quick = job.cost.ms <= QUICK_MS and job.cost.mib <= QUICK_MIB
        return self._render(job) if quick else job

    def _run(self) -> None:
        """Decode large pictures: one of each request in turn."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                waiting = self._waiting.popleft()
            position, job = waiting.jobs.popleft()
            outcome: Array | BadPicture | None = None
            if not _true(waiting.wanted):
                outcome = waiting.images
                left = job.length + _length(waiting)
                waiting.jobs.clear()
            else:
                left = job.length
                try:
                    waiting.images[position] = self._render(job)
                except Exception as reason:
                    outcome = BadPicture(position, _as_bad_image(reason))
                    left += _length(waiting)
                    waiting.jobs.clear()
            del job
            done = not waiting.jobs
            with self._changed:
                self._bytes -= left
                if not done:
                    self._waiting.append(waiting)
                    self._changed.notify()
            if done:
                # An answer that cannot be sent must not end the lane.
                with suppress(Exception):
                    waiting.answer(waiting.images if outcome is None else outcome)


def _length(waiting: PendingRequest) -> int:
    return sum(job.length for _, job in waiting.jobs)


def _true(question: Callable[[], bool]) -> bool:
    """The answer to a question; yes if it cannot be asked."""
    try:
        return question()
    except Exception:
        return True


def _as_bad_image(reason: Exception) -> BadImage:
    """A fault of the code here is no reason to fail the picture's neighbours."""
    return reason if isinstance(reason, BadImage) else BadImage(f"cannot be decoded: {quoted(reason)}")
