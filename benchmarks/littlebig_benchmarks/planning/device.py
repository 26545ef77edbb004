"""What the stages share: weighted processor sharing of a device's capacity.

A CPU's scheduler shares cores so by design, with a weight per thread. A GPU does not quite: two streams' kernels take
turns or overlap; that they slow each other down in proportion is the assumption made here. The measured capacity says
by how much together they are faster than one alone, and the measured weights who is slowed down more.
"""

from __future__ import annotations

from collections.abc import Callable


class Job:
    """Work on a device.

    Args:
        seconds: that it takes alone; more than 0.
        threads: most of the capacity that it can use.
        weight: per thread, against other jobs.
        done: called when it is finished.
    """

    __slots__ = ("done", "left", "speed", "threads", "weight")

    def __init__(self, seconds: float, threads: float, weight: float, done: Callable[[], None]) -> None:
        """Not started."""
        self.left = seconds
        self.threads = threads
        self.weight = weight
        self.done = done
        self.speed = 0.0


class SharedDevice:
    """Jobs that share a capacity.

    Args:
        capacity: in threads (cpu) or lone batches (gpu) at full speed.
    """

    def __init__(self, capacity: float) -> None:
        """Idle."""
        self.capacity = capacity
        self.work = 0.0
        self.jobs: list[Job] = []
        self._used = 0.0

    def add(self, job: Job) -> None:
        """Start a job."""
        self.jobs.append(job)
        self._share()

    def next_end(self) -> tuple[float, Job]:
        """Seconds until the first of the jobs is done if nothing changes, and which; there must be one."""
        first = min(self.jobs, key=lambda job: job.left / job.speed)
        return first.left / first.speed, first

    def advance(self, seconds: float) -> None:
        """Let all jobs run on."""
        for job in self.jobs:
            job.left -= seconds * job.speed
        self.work += seconds * self._used

    def remove(self, job: Job) -> None:
        """Take a finished job out."""
        self.jobs.remove(job)
        self._share()

    def _share(self) -> None:
        """Give each job its share by weight; what a job cannot use goes to the others."""
        jobs, left = self.jobs, self.capacity
        if sum(job.threads for job in jobs) > left:
            while jobs:
                total = sum(job.threads * job.weight for job in jobs)
                full = [job for job in jobs if left * job.weight >= total]
                if not full:
                    for job in jobs:
                        job.speed = left * job.weight / total
                    break
                for job in full:
                    job.speed = 1.0
                    left -= job.threads
                jobs = [job for job in jobs if job not in full]
        else:
            for job in jobs:
                job.speed = 1.0
        self._used = sum(job.threads * job.speed for job in self.jobs)
