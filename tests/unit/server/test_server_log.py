"""The log is read whatever its callback does."""

import os
import threading
from pathlib import Path

from littlebig_server.log import KEPT_LINES, ServerLog


def pipe_with(lines: list[str], **options: object) -> ServerLog:
    """A log whose server writes these lines and ends; writing blocks unless the log is read."""
    reading, writing = os.pipe()
    log = ServerLog(os.fdopen(reading), **options)  # type: ignore[arg-type]
    with os.fdopen(writing, "w") as server:
        server.writelines(f"{line}\n" for line in lines)
    return log


def test_lines_are_kept_passed_on_and_written(tmp_path: Path) -> None:
    seen: list[str] = []
    file = tmp_path / "triton.log"
    log = pipe_with(["one", "two", "three"], file=file.open("w"), on_line=seen.append)
    log.finish()

    assert log.tail() == seen == ["one", "two", "three"]
    assert log.tail(2) == ["two", "three"]
    assert log.tail(0) == []
    assert file.read_text() == "one\ntwo\nthree\n"


def test_only_the_last_lines_are_kept() -> None:
    log = pipe_with([str(number) for number in range(KEPT_LINES + 10)])
    log.finish()

    assert len(log.tail()) == KEPT_LINES
    assert log.tail(1) == [str(KEPT_LINES + 9)]


def test_a_blocked_callback_does_not_block_the_server() -> None:
    released = threading.Event()
    seen: list[str] = []

    def block(line: str) -> None:
        released.wait()
        seen.append(line)

    # Far more than a pipe (64 KiB) and the queue hold together: returns only if the pipe is still read.
    total = 4 * KEPT_LINES
    log = pipe_with(["x" * 100] * total, on_line=block)
    assert log.tail(1) == ["x" * 100]
    released.set()
    log.finish(timeout=30)

    assert 0 < len(seen) < total


def test_a_broken_callback_does_not_end_the_log() -> None:
    calls: list[str] = []

    def fail(line: str) -> None:
        calls.append(line)
        raise BrokenPipeError

    log = pipe_with(["one", "two"], on_line=fail)
    log.finish()

    assert calls == ["one"]
    assert log.tail() == ["one", "two"]
