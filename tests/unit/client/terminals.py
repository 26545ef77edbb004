"""`littlebig classify` in a process of its own, and what it shows on a terminal."""

import os
import subprocess
import sys


def start_classify(*words: object, **settings: object) -> subprocess.Popen:
    # A background job of a shell inherits an ignored SIGINT; restore the default.
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from littlebig_cli.main import main; main()"
    )
    return subprocess.Popen([sys.executable, "-c", script, "classify", *map(str, words)], **settings)


def read_terminal(descriptor: int) -> bytes:
    """All that was written to a terminal whose other end is closed; closes it."""
    seen = b""
    while True:
        try:
            seen += os.read(descriptor, 65536)
        except OSError:  # the other end is closed
            os.close(descriptor)
            return seen
