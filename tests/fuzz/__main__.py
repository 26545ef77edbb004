"""Fuzzes preprocess: python -m tests.fuzz [--seconds N] [--seed N]."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "model_repository" / "preprocess" / "1"))

from littlebig_export.exporting import export_pair  # noqa: E402
from littlebig_export.pair import load_pair  # noqa: E402
from littlebig_server import TritonServer  # noqa: E402
from tests.fuzz.in_process import decode_in_child  # noqa: E402
from tests.fuzz.served import attack  # noqa: E402
from tests.tiny_pair import write_tiny_pair  # noqa: E402

# Seconds that the neighbours' 99th percentile may grow by.
_MOST_GROWTH = 1.0


def main():
    """Fuzz in process, then through a server; the exit status says whether anything was found."""
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    options.add_argument("--seconds", type=int, default=240, help="for both halves together  [default: 240]")
    options.add_argument("--seed", type=int, default=0, help="of the mutations  [default: 0]")
    chosen = options.parse_args()
    keep = ROOT / "build" / "fuzz"
    keep.mkdir(parents=True, exist_ok=True)

    result = decode_in_child(chosen.seed, seconds=chosen.seconds / 2, keep=str(keep))
    print(f"in process: {result.pictures} pictures, {result.answered} answered, slowest {result.slowest}")
    faults = result.faults

    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "models"
        export_pair(load_pair(str(write_tiny_pair(Path(folder)))), "cpu", repository)
        with TritonServer(repository) as server:
            calm = attack(server.grpc_url, chosen.seed, chosen.seconds / 8, {})
            busy = attack(server.grpc_url, chosen.seed, 3 * chosen.seconds / 8)
    print(
        f"served: {len(busy.honest)} honest requests, p99 {busy.p99():.3f} s ({calm.p99():.3f} s alone); "
        f"{busy.sent} bad ones: {dict(busy.errors)}"
    )
    faults += calm.faults + busy.faults
    if busy.p99() > calm.p99() + _MOST_GROWTH:
        faults.append("the honest requests' 99th percentile grew by more than a second")
    for fault in faults[:50]:
        print(f"FAULT: {fault}")
    print(f"{len(faults)} faults" + (f"; pictures in {keep}" if result.faults else ""))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
