"""The watchdog ends a process that stood still, and leaves all others alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import littlebig_watchdog
import pytest
from littlebig_watchdog import LIMIT_S, Watchdog, end_if_clock_steps

FOLDER = Path(littlebig_watchdog.__file__).parent


@pytest.fixture
def child():
    """child(code) -> a Python process that runs it, after it has printed a line."""
    started = []

    def start(code):
        process = subprocess.Popen(
            [sys.executable, "-c", f"import sys, time\nsys.path.insert(0, {str(FOLDER)!r})\n{code}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_stopped_process_is_killed_while_it_is_stopped(child):
    process = child(
        "from littlebig_watchdog import Watchdog\nwatchdog = Watchdog()\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    os.kill(process.pid, signal.SIGSTOP)
    assert process.wait(20) == -signal.SIGKILL


def test_a_process_that_runs_is_left_alone_for_longer_than_the_limit(child):
    process = child(
        "from littlebig_watchdog import Watchdog\nwatchdog = Watchdog()\nprint('ready', flush=True)\ntime.sleep(1.5)"
    )
    assert process.wait(20) == 0


HOLD_THE_LOCK = "import ctypes\nctypes.PyDLL(None).usleep(1_500_000)\n"


def test_a_process_whose_threads_keep_pythons_lock_for_long_is_left_alone(child):
    process = child(
        "from littlebig_watchdog import Watchdog\nwatchdog = Watchdog()\nprint('ready', flush=True)\n"
        f"for _ in range(2):\n    time.sleep(0.3)\n    {HOLD_THE_LOCK.replace(chr(10), '; ')}"
    )
    assert process.wait(20) == 0


def test_after_pythons_lock_was_kept_for_long_a_stopped_process_is_killed_again(child):
    process = child(
        f"from littlebig_watchdog import Watchdog\nwatchdog = Watchdog()\n{HOLD_THE_LOCK}"
        "time.sleep(0.5)\nprint('ready', flush=True)\ntime.sleep(60)"
    )
    os.kill(process.pid, signal.SIGSTOP)
    assert process.wait(20) == -signal.SIGKILL


def test_a_watchdog_that_was_stopped_kills_nothing(child):
    process = child(
        "from littlebig_watchdog import Watchdog\nwatchdog = Watchdog()\nwatchdog.stop()\nprint('ready', flush=True)\n"
        "time.sleep(1.5)"
    )
    assert process.wait(20) == 0


@pytest.fixture
def killed(monkeypatch):
    """Signals that this process sent to itself."""
    signals = []
    monkeypatch.setattr(littlebig_watchdog.os, "kill", lambda pid, number: signals.append((pid, number)))
    return signals


@pytest.mark.parametrize(("step_s", "ends"), [(0.0, False), (LIMIT_S - 0.1, False), (LIMIT_S + 0.1, True), (-9, False)])
def test_a_batch_during_which_the_wall_clock_jumped_ahead_is_not_answered(monkeypatch, killed, step_s, ends):
    lead = iter([100.0, 100.0 + step_s])
    monkeypatch.setattr(littlebig_watchdog, "_wall_clock_lead", lambda: next(lead))
    assert end_if_clock_steps(lambda model, requests: ["answer"])(None, []) == ["answer"]
    assert killed == ([(os.getpid(), signal.SIGKILL)] if ends else [])


def test_without_a_timer_the_model_does_not_load(monkeypatch):
    monkeypatch.setattr(littlebig_watchdog, "_CLOCK", 99)
    with pytest.raises(OSError, match="no timer for the watchdog"):
        Watchdog()
