"""Finds in Triton's log the one line that says what went wrong.

Triton writes the cause of a failed start early, repeats it in tables and for every ensemble above the model, and ends
with "failed to load all models". The first report about a model is the cause; the rest follows from it.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

_LOADING = re.compile(r'"?loading: ([^:\s]+):\d+"?\s*$')
_LOADED = re.compile(r"successfully loaded '([^']+)'")
_FAILED = re.compile(r"""failed to load '([^']+)' version (\d+): (.*)""")
_POLL_FAILED = re.compile(r"""Poll failed for model directory '([^']+)': (.*)""")
_PARSE_ERROR = re.compile(r"Error parsing text-format \S+: (.*)")
_STUB_FAILED = re.compile(r"Failed to preinitialize Python stub: (.*)")
_TAKEN = re.compile(r"Socket '[^']*:(\d+)' already in use")
# What Triton puts before the words of whoever failed.
_STATUS = re.compile(r"^(Internal|Invalid argument|Unavailable|Not found|Unsupported|Unknown|Already exists)(: | - )")
_STUB_GONE = re.compile(r"^Stub process '([^']+)' is not healthy\.$")
_WHERE = re.compile(r"\S*/([^/\s]+\(\d+\): \w+)")
# The dynamic loader's, the option parser's, main.cc's and the keeper's own last words.
_LAST_WORDS = re.compile(
    r"error while loading shared libraries|version `GLIBC|unrecognized option|^cannot start |^error: "
)
# What the C++ runtime says of an exception that nobody caught, before it aborts.
_UNCAUGHT = re.compile(r"terminate called after throwing an instance of '([^']+)'")
_LOCK_EXCEPTION = "boost::interprocess::lock_exception"
_LOG_PREFIX = re.compile(r"^[EWIF]\d{4} \S+ \d+ \S+\] ")


def failed_model(log: Sequence[str]) -> str | None:
    """What the log says about the first model that could not be loaded, in one line.

    Args:
        log: Triton's log, line by line.

    Returns:
        "model 'little' failed to load: ...", or None if the log knows of no such model.
    """
    parse_error = None
    for line in log:
        if found := _PARSE_ERROR.search(line):
            parse_error = found[1]
        elif found := _POLL_FAILED.search(line):
            why = f"config.pbtxt {parse_error}" if parse_error else _words(found[2])
            return f"model '{found[1]}' failed to load: {why}"
        elif found := _FAILED.search(line):
            return f"model '{found[1]}' failed to load: {_words(found[3])}"
        elif found := _STUB_FAILED.search(line):
            return f"a Python model failed to load: {_words(found[1])}"
    return None


def taken_port(log: Sequence[str]) -> int | None:
    """The port that tritonserver found taken, None if it found none so."""
    for line in log:
        if found := _TAKEN.search(line):
            return int(found[1])
    return None


def gave_up_on_a_stub(log: Sequence[str]) -> bool:
    """Whether Triton, while loading, aborted as it does over a Python model's process that is late with a sign of life.

    Such a process has a second. Triton 24.10 means to fail the load with "Stub process '...' is not healthy", and does
    so where it is dead; where it is only late, as on a very busy machine, Triton may abort while it frees their memory.
    """
    return _uncaught(log) == _LOCK_EXCEPTION


def still_loading(log: Sequence[str]) -> list[str]:
    """The models that tritonserver began to load and has not finished, sorted."""
    begun = {found[1] for line in log if (found := _LOADING.search(line))}
    done = {found[1] for line in log if (found := _LOADED.search(line))}
    return sorted(begun - done)


def cause_of_end(code: int, log: Sequence[str]) -> str:
    """Why tritonserver ended, in one line.

    Args:
        code: its exit code, negative if a signal ended it.
        log: its log, line by line.
    """
    if code < 0:
        return f"killed by {signal.Signals(-code).name}{_killer(code, log)}"
    model = failed_model(log)
    if model is not None:
        return model
    last_words = [line for line in log if _LAST_WORDS.search(line)]
    errors = [line for line in log if re.match(r"E\d{4} ", line)]
    # Triton's "error: creating server" names the reason; its E lines before a clean end (no GPU) are everyday.
    for line in [*last_words, *(errors[-1:] if code else [])]:
        return _LOG_PREFIX.sub("", line).strip().strip('"').strip()
    return f"exit code {code}"


def _killer(code: int, log: Sequence[str]) -> str:
    if -code == signal.SIGKILL:
        return ", perhaps by the kernel because memory ran out"
    exception = _uncaught(log)
    if exception is None:
        return ""
    why = "; seen where a Python model's process gave no sign of life for a second: free some CPU, and start again"
    return f" after an uncaught {exception}{why if exception == _LOCK_EXCEPTION else ''}"


def _uncaught(log: Sequence[str]) -> str | None:
    """The type of the exception that nobody caught."""
    return next((found[1] for line in log if (found := _UNCAUGHT.search(line))), None)


def _words(message: str) -> str:
    """A quoted message of the log as one line: no status name, and of a Python traceback only where it began."""
    # Triton writes control characters as two, backslash and n.
    lines = [line.strip() for line in message.strip().strip('"').replace("\\n", "\n").splitlines()]
    said, _, trace = "\n".join(line for line in lines if line).partition("\nAt:\n")
    where = _WHERE.search(trace)
    words = _STATUS.sub("", " ".join(said.split()))
    words = _STUB_GONE.sub(r"the Python process of instance \1 died, or gave no sign of life for a second", words)
    return f"{words} ({where[1]})" if where else words
