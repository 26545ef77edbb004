"""What a command shows on a terminal."""

import os


def read_terminal(descriptor: int) -> bytes:
    """All that was written to a terminal whose other end is closed; closes it."""
    seen = b""
    while True:
        try:
            seen += os.read(descriptor, 65536)
        except OSError:  # the other end is closed
            os.close(descriptor)
            return seen
