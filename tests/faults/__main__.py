"""Runs the fault campaign: python -m tests.faults [--seed N] [--within SECONDS] [--retry-for SECONDS] [--only PATTERN]."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile

import numpy as np

from tests.faults.attack import attack_grpc, attack_http, open_calls
from tests.faults.campaign import run, table
from tests.faults.injecting import every_fault
from tests.faults.serving import Service, write_repository
from tests.faults.traffic import questions


def main():
    """Inject every fault in turn; the exit status says whether anything was found."""
    options = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    options.add_argument("--seed", type=int, default=0, help="of images, durations and requests  [default: 0]")
    options.add_argument("--within", type=float, default=10, help="seconds to heal or exit  [default: 10]")
    options.add_argument(
        "--retry-for", type=float, help="seconds that clients wait for the server  [default: the client's]"
    )
    options.add_argument("--only", default="", help="a regular expression: only the parts whose name has a match")
    chosen = options.parse_args()
    random = np.random.default_rng(chosen.seed)
    settings = {"timeout": chosen.retry_for + 5, "retry_for": chosen.retry_for} if chosen.retry_for else {}

    rows, found = [], []
    with tempfile.TemporaryDirectory() as folder, Service(write_repository(folder), folder) as service:
        asked = questions(service.grpc_url, chosen.seed)
        found += open_calls(service) if re.search(chosen.only, "administration") else []
        for attack in (attack_grpc, attack_http):
            if re.search(chosen.only, attack.__name__):
                result = attack(service, asked, seed=chosen.seed)
                print(result, flush=True)
                found += result.found
        for fault in every_fault(random):
            if not re.search(chosen.only, fault.name):
                continue
            if fault.needs_private and not service.is_private:
                print(f"left out: {fault.name}, because this process may not mount a /dev/shm of its own")
                continue
            row = run(service, asked, fault, **settings)
            rows.append(row)
            found += row.faults(chosen.within)
            print(table([row]).splitlines()[-1], *row.notes[:5], *row.faults(chosen.within), sep="\n    ", flush=True)
    print(table(rows))
    for text in found[:50]:
        print(f"FAULT: {text}")
    print(f"{len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
