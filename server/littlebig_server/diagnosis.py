"""Finds the cause of a failure in Triton's log.

Triton writes the cause of a failed start early, repeats it in tables and for every ensemble above the model, and ends
with "failed to load all models". So the first report about a model is the cause.
"""

import re
import signal
from collections.abc import Sequence

_LOADING = re.compile(r'"?loading: ([^:\s]+):\d+"?\s*$')
_LOADED = re.compile(r"successfully loaded '([^']+)'")
_FAILED = re.compile(r"""failed to load '([^']+)' version (\d+): (.*)""")
_POLL_FAILED = re.compile(r"""Poll failed for model directory '([^']+)': (.*)""")
_PARSE_ERROR = re.compile(r"Error parsing text-format \S+: (.*)")
_STUB_FAILED = re.compile(r"Failed to preinitialize Python stub: (.*)")
_PORT_TAKEN = re.compile(r"Socket '[^']*:(\d+)' already in use")
_STATUS = re.compile(r"^(Internal|Invalid argument|Unavailable|Not found|Unsupported|Unknown|Already exists)(: | - )")
_UNHEALTHY = re.compile(r"Stub process '[^']*' is not healthy")
_STUB_UNHEALTHY = re.compile(r"^Stub process '([^']+)' is not healthy\.$")
_NO_BACKEND = re.compile(r"unable to find backend library for backend '(onnxruntime|tensorrt)'.*")
_TRACEBACK_LINE = re.compile(r"\S*/([^/\s]+\(\d+\): \w+)")
# Last lines of the dynamic loader, the option parser, main.cc and our keeper.
_LAST_WORDS = re.compile(
    r"error while loading shared libraries|version `GLIBC|unrecognized option|^cannot start |^error: "
)
# The C++ runtime writes this before it aborts over an uncaught exception.
_UNCAUGHT = re.compile(r"terminate called after throwing an instance of '([^']+)'")
_LOCK_EXCEPTION = "boost::interprocess::lock_exception"
_LIVE_MODELS = re.compile(r"Timeout \d+: Found (\d+) live models and 0 in-flight non-inference requests")
_LOG_PREFIX = re.compile(r"^[EWIF]\d{4} \S+ \d+ \S+\] ")


def failed_model(log: Sequence[str]) -> str | None:
    """Describe the first model that could not be loaded, in one line.

    Args:
        log: Triton's log, line by line.

    Returns:
        "model 'little' failed to load: ...", or None if the log reports no such model.
    """
    parse_error = None
    for line in log:
        if match := _PARSE_ERROR.search(line):
            parse_error = match[1]
        elif match := _POLL_FAILED.search(line):
            reason = f"config.pbtxt {parse_error}" if parse_error else _one_line(match[2])
            return f"model '{match[1]}' failed to load: {reason}"
        elif match := _FAILED.search(line):
            return f"model '{match[1]}' failed to load: {_one_line(match[3])}"
        elif match := _STUB_FAILED.search(line):
            return f"a Python model failed to load: {_one_line(match[1])}"
    return None


def taken_port(log: Sequence[str]) -> int | None:
    """The port that tritonserver could not bind because it was taken; None if there was none."""
    for line in log:
        if match := _PORT_TAKEN.search(line):
            return int(match[1])
    return None


def aborted_on_late_stub(log: Sequence[str]) -> bool:
    """Whether Triton aborted because a Python model's process was late while loading.

    Such a process has one second to answer. A late one can make Triton 24.10 abort while it frees their shared memory,
    instead of failing the load: docs/known-issues.md.
    """
    return _uncaught_exception(log) == _LOCK_EXCEPTION


def lost_while_loading(log: Sequence[str]) -> bool:
    """Whether a Python model's process was late or ended while its model loaded, as on a busy machine."""
    return any(_UNHEALTHY.search(match[3]) for line in log if (match := _FAILED.search(line)))


def still_loading(log: Sequence[str]) -> list[str]:
    """The models that tritonserver has begun and not finished to load, sorted."""
    begun = {match[1] for line in log if (match := _LOADING.search(line))}
    done = {match[1] for line in log if (match := _LOADED.search(line))}
    return sorted(begun - done)


def models_to_unload(log: Sequence[str]) -> int | None:
    """How many models a stopping server still unloads; None before all of its requests are answered.

    Args:
        log: the last lines of Triton's log.
    """
    return next((int(match[1]) for line in reversed(log) if (match := _LIVE_MODELS.search(line))), None)


def cause_of_end(code: int, log: Sequence[str]) -> str:
    """Why tritonserver ended, in one line.

    Args:
        code: its exit code, negative if a signal ended it.
        log: its log, line by line.
    """
    if code < 0:
        return f"killed by {signal.Signals(-code).name}{_cause_of_signal(code, log)}"
    model = failed_model(log)
    if model is not None:
        return model
    last_words = [line for line in log if _LAST_WORDS.search(line)]
    errors = [line for line in log if re.match(r"E\d{4} ", line)]
    # Triton's "error: creating server" gives the reason. E lines before a clean end (no GPU) are normal.
    for line in [*last_words, *(errors[-1:] if code else [])]:
        return _LOG_PREFIX.sub("", line).strip().strip('"').strip()
    return f"exit code {code}"


def _cause_of_signal(code: int, log: Sequence[str]) -> str:
    if -code == signal.SIGKILL:
        return ", perhaps by the kernel because memory ran out"
    exception = _uncaught_exception(log)
    if exception is None:
        return ""
    if exception != _LOCK_EXCEPTION:
        return f" after an uncaught {exception}"
    return (
        f" after an uncaught {exception}: a Python model's process probably did not answer for a second; "
        "free some CPU and start again"
    )


def _uncaught_exception(log: Sequence[str]) -> str | None:
    """The type of the C++ exception that ended tritonserver."""
    return next((match[1] for line in log if (match := _UNCAUGHT.search(line))), None)


def _one_line(message: str) -> str:
    """A quoted log message as one line, without its status name; of a Python traceback only the first location."""
    # Triton writes control characters as two, backslash and n.
    lines = [line.strip() for line in message.strip().strip('"').replace("\\n", "\n").splitlines()]
    text, _, trace = "\n".join(line for line in lines if line).partition("\nAt:\n")
    location = _TRACEBACK_LINE.search(trace)
    text = _STATUS.sub("", " ".join(text.split()))
    text = _STUB_UNHEALTHY.sub(r"the Python process of instance \1 died or did not answer for a second", text)
    text = _NO_BACKEND.sub(
        r"this tritonserver has no backend '\1': serve in NVIDIA's Triton container, or export with --target cpu or "
        "cuda",
        text,
    )
    return f"{text} ({location[1]})" if location else text
