"""A fault campaign against the running server: `python -m tests.faults`."""
