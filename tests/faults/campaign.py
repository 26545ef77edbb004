"""Injects one fault after another under comparing clients and says what became of the server and of every image."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import psutil

from littlebig_client import Client, ClientError
from tests.faults.serving import INSTANCES, MODELS

# Beyond this a fault counts as not healed, and the campaign starts the server anew.
_GIVE_UP_S = 60.0
# A heal replaces processes one after another: the service is whole when nothing has changed for this long.
_STILL_S = 1.0
_SETTLE_S = 1.0
_QUICK_S = 3.0


@dataclass
class Row:
    """What became of one fault.

    Attributes:
        fault: its name.
        happened: `unharmed`, `healed`, `exited (CODE)` or `still broken`.
        seconds: from the fault until it was healed or the command exited; None if neither.
        whole: seconds until everything worked again, with the supervisor's restart.
        outcome: what the clients got.
        notes: the command's own words, and the first wrong and lost images.
    """

    fault: str
    happened: str
    seconds: float | None
    whole: float | None
    outcome: object
    notes: list[str] = field(default_factory=list)

    def faults(self, within):
        """What must not happen, in one line each.

        Args:
            within: seconds in which it must be healed or have exited.
        """
        found = self.outcome.problems(self.fault)
        if self.seconds is None or self.seconds > within or "no supervisor" in self.happened:
            found.append(f"{self.fault}: {self.happened} after {_seconds(self.seconds)}, allowed {within:g} s")
        return found


def run(service, asked, fault, **settings):
    """One row: the fault under traffic, until the server is whole again.

    Args:
        service: the running Service.
        asked: questions for the clients.
        fault: what to inject.
        settings: of the clients; their defaults otherwise.
    """
    before, lines = await_whole(service, asked, 90), len(service.log())
    exits = len(service.exits)
    with fault.traffic(service.grpc_url, asked, **settings) as traffic:
        undo = fault.inject(service)
        injected = time.monotonic()
        whole = _whole_again(service, asked, injected, fault.may_stay)
        gone = service.exits[exits:]
        if undo is not None:
            undo()
        if whole is None:
            service.restart()
            await_whole(service, asked, 90)
        traffic.wait_for(1)
        time.sleep(_SETTLE_S)
    after = await_whole(service, asked, 90)
    was_unharmed = all(set(before[name]) <= set(after[name]) for name in before)
    if whole is None:
        happened, seconds = "still broken", None
    elif gone:
        happened, seconds = f"exited ({gone[0].code})", max(gone[0].at - injected, 0.0)
    elif fault.may_stay is not None:
        happened, seconds = "serves on", whole
    else:
        happened, seconds = ("unharmed" if was_unharmed else "healed"), whole
    if gone and not gone[0].code and not fault.asked_to_exit:
        happened = "exited (0), which no supervisor takes for a failure"
    notes = [line for line in service.log()[lines:] if line.startswith("littlebig:")]
    return Row(fault.name, happened, seconds, whole, traffic.outcome, notes)


def await_whole(service, asked, seconds):
    """Wait until every process runs and every kind of request is answered; returns the process ids."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        pids = _running(service)
        if pids is not None and _answers(service, asked):
            return pids
        time.sleep(0.2)
    raise AssertionError(f"the server is not whole after {seconds:g} s: {service.processes()}, {service.log()[-5:]}")


def _whole_again(service, asked, injected, may_stay):
    """Seconds from the fault until the server was whole and stayed so; None if it was not in time."""
    since, seen = None, None
    while time.monotonic() - injected < _GIVE_UP_S or since is not None:
        pids = _running(service, may_stay)
        if pids is None or _is_healing(service) or not _answers(service, asked):
            since = None
        elif since is None or pids != seen:
            since, seen = time.monotonic(), pids
        elif time.monotonic() - since > _STILL_S:
            return since - injected
        time.sleep(0.1)
    return None


def _running(service, may_stay=None):
    """Name -> process ids; None if a model has too few processes, or any but `may_stay` is frozen.

    A healed model has more for a while: those that it replaced end after their last request.
    """
    processes = service.processes()
    fewest = {"serve": 1, "keeper": 1, "tritonserver": 1, **dict.fromkeys(MODELS, INSTANCES)}
    if any(len(processes.get(name, ())) < count for name, count in fewest.items()):
        return None
    try:
        frozen = {
            name for name in processes for process in processes[name] if process.status() == psutil.STATUS_STOPPED
        }
    except psutil.NoSuchProcess:
        return None
    return None if frozen - {may_stay} else {name: [process.pid for process in processes[name]] for name in processes}


def _is_healing(service):
    """Whether the command has begun to load a model again, and has not said that it is loaded."""
    words = [line for line in service.log() if line.startswith("littlebig: ")]
    return bool(words) and words[-1].endswith("loading the model again")


def _answers(service, asked):
    """Whether a few images are answered quickly and without a retry."""
    try:
        with Client(service.grpc_url, timeout=_QUICK_S, connect_timeout=_QUICK_S, retry_for=0) as client:
            return all(question.is_answered_by(client.classify(question.image)) for question in asked[:6])
    except ClientError:
        return False


def _seconds(value):
    return "—" if value is None else f"{value:.1f} s"


def table(rows):
    """The rows as a Markdown table."""
    lines = [
        "| fault | what happened | after | whole again | right | wrong | lost | slowest answer |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        outcome = row.outcome
        cells = (row.fault, row.happened, _seconds(row.seconds), _seconds(row.whole), outcome.right)
        cells = (*cells, len(outcome.wrong), len(outcome.failed), f"{outcome.slowest:.1f} s")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)
