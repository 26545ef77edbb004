"""Ends this process before Triton gives up on it, so that no caller gets another caller's answer.

Triton 24.10 sends a batch to a model's process (stub) and waits a second at a time for the answer. If the stub's health
thread, which runs every 300 ms, was not heard from in that second, Triton fails the batch and leaves process and queue
as they are (`ReceiveMessageFromStub` in python_backend's stub_launcher.cc). Answers carry no number. A stub that only
stood still then answers the failed batch, and Triton takes that for the answer to the next one: from there on, every
caller gets the answer of the batch before, and both sides use memory that the other has freed.

So a stub that stands still must not come back. Two causes, two guards:

    the process stood still    a stopped process, a cgroup freezer, a suspended machine, no CPU time: a timer of the
                               kernel kills it, also while it is stopped, unless the process puts the timer off in time
    the wall clock stepped     Triton measures its second by that clock, so it ends early: the process kills itself
                               instead of answering the batch in hand

A process stands still from at most 300 ms after Triton's second began, so it has to be gone 700 ms later.

A thread puts the timer off every 100 ms. If other threads keep Python's lock for longer than that, the process is slow
but runs, and Triton, whose health thread needs no lock, is content. So a second timer, which needs a running process
but not the lock, takes the first one away before it kills; the thread makes a new one when it has the lock again.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

# Most seconds that the process may stand still, or the wall clock may gain during a batch.
LIMIT_S = 0.6
# Seconds after which a process that runs, but whose thread is late, is rescued.
_RESCUE_S = 0.2
_INTERVAL_S = 0.1
# Counts while the machine is suspended, too.
_CLOCK = time.CLOCK_BOOTTIME
# Of signal.h: a timer that sends a signal, or calls a function on a thread of its own.
_SIGEV_SIGNAL, _SIGEV_THREAD = 0, 2


class _Event(ctypes.Structure):
    """`struct sigevent` of 64-bit Linux."""

    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signal", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", ctypes.c_void_p),
        ("unused", ctypes.c_byte * 40),
    )


class _Interval(ctypes.Structure):
    """`struct itimerspec`: a timer that fires once, after seconds and nanoseconds."""

    _fields_ = (
        ("every_s", ctypes.c_long),
        ("every_ns", ctypes.c_long),
        ("after_s", ctypes.c_long),
        ("after_ns", ctypes.c_long),
    )


class Watchdog:
    """Kills this process once it has stood still for LIMIT_S seconds. Make it when the model is loaded."""

    def __init__(self) -> None:
        """Start the timers, and the thread that puts them off.

        Raises:
            OSError: if the system gives no timer.
        """
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._make_timers()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._put_off()
        self._thread.start()

    def stop(self) -> None:
        """Let the process live on without a watchdog."""
        self._stopped.set()
        self._thread.join()
        for timer in (self._kill, self._rescue):
            self._libc.timer_delete(timer)

    def _run(self) -> None:
        while not self._stopped.wait(_INTERVAL_S):
            self._put_off()

    def _put_off(self) -> None:
        # The rescue first, because this thread may have to wait for Python's lock between two calls.
        self._start(self._rescue, _RESCUE_S)
        if not self._start(self._kill, LIMIT_S):  # it was taken away
            self._libc.timer_delete(self._rescue)
            self._make_timers()
            self._start(self._rescue, _RESCUE_S)
            self._start(self._kill, LIMIT_S)

    def _make_timers(self) -> None:
        delete = ctypes.cast(self._libc.timer_delete, ctypes.c_void_p)
        self._kill = self._make_timer(_Event(notify=_SIGEV_SIGNAL, signal=signal.SIGKILL))
        self._rescue = self._make_timer(_Event(notify=_SIGEV_THREAD, function=delete, value=self._kill))

    def _make_timer(self, event: _Event) -> ctypes.c_void_p:
        timer = ctypes.c_void_p()
        if self._libc.timer_create(_CLOCK, ctypes.byref(event), ctypes.byref(timer)) != 0:
            raise OSError(ctypes.get_errno(), "no timer for the watchdog")
        return timer

    def _start(self, timer: ctypes.c_void_p, seconds: float) -> bool:
        """Let a timer fire after some seconds; False if it does not exist."""
        after = _Interval(after_ns=int(seconds * 1e9))
        return bool(self._libc.timer_settime(timer, 0, ctypes.byref(after), None) == 0)


def end_if_clock_steps(execute: Callable[[Any, list[Any]], list[Any]]) -> Callable[[Any, list[Any]], list[Any]]:
    """Decorate a model's `execute`: a batch during which the wall clock gained LIMIT_S seconds is not answered."""

    @functools.wraps(execute)
    def guarded(model: Any, requests: list[Any]) -> list[Any]:
        before = _wall_clock_lead()
        try:
            return execute(model, requests)
        finally:
            if _wall_clock_lead() - before > LIMIT_S:
                os.kill(os.getpid(), signal.SIGKILL)

    return guarded


def _wall_clock_lead() -> float:
    """How far the wall clock is ahead of the clock that no one sets, in seconds."""
    return time.time() - time.clock_gettime(_CLOCK)
