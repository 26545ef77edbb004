"""What a request costs the client: the CPU time and throughput of `classify_many`, with and without shared memory.

    python experiments/client_cost.py --repository build/model_repository [--other PATH/client]

Serves stages that do nothing for canonical images of 260 x 260, and the repository for JPEG files. Variants alternate,
each in a process of its own; --other is the folder of another version of the client. Prints medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from littlebig_benchmarks.serving import serving_stages_that_do_nothing
from littlebig_server import ServerSettings, TritonServer

ROUNDS, IMAGES, CONCURRENCY = 7, 400, 8

ASK = """
import io, json, sys, time
import numpy as np
from PIL import Image
from littlebig_client import Client
url, kind, settings = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
noise = np.random.default_rng(0).integers(0, 256, (260, 260, 3), np.uint8)
file = io.BytesIO(); Image.fromarray(noise).resize((500, 375)).save(file, "JPEG")
image = noise if kind == "canonical" else file.getvalue()
with Client(url, **settings) as client:
    list(client.classify_many([image] * 50))
    cpu, wall = time.process_time(), time.perf_counter()
    answers = list(client.classify_many([image] * %d, concurrency=%d))
    figures = time.process_time() - cpu, time.perf_counter() - wall
    print(json.dumps([*figures, sum(hasattr(answer, "label") for answer in answers)]))
""" % (IMAGES, CONCURRENCY)  # noqa: UP031  (a program with braces of its own)


def ask(url: str, kind: str, settings: dict[str, object], client: Path | None) -> tuple[float, float]:
    """CPU milliseconds per image of the client, and images per second."""
    path = os.pathsep.join([*([str(client)] if client else []), os.environ.get("PYTHONPATH", "")])
    words = [sys.executable, "-c", ASK, url, kind, json.dumps(settings)]
    printed = subprocess.run(words, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    cpu, wall, answered = json.loads(printed.stdout)
    assert answered == IMAGES, f"{answered} of {IMAGES} answered"  # noqa: S101
    return cpu / IMAGES * 1e3, IMAGES / wall


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, required=True)
    parser.add_argument("--other", type=Path)
    arguments = parser.parse_args()
    variants: dict[str, tuple[dict[str, object], Path | None]] = {
        "gRPC": ({}, None),
        "shared memory": ({"shared_memory": True}, None),
    }
    if arguments.other:
        variants["gRPC, other client"] = ({}, arguments.other)
    with (
        tempfile.TemporaryDirectory() as folder,
        serving_stages_that_do_nothing(arguments.repository, {}, Path(folder), None) as nothing,
    ):
        compare(nothing.url, "canonical", variants)
    # Shared memory is closed to clients unless it is opened.
    with TritonServer(arguments.repository, ServerSettings(client_shared_memory=True)) as server:
        compare(server.grpc_url, "JPEG", variants)


def compare(url: str, kind: str, variants: dict[str, tuple[dict[str, object], Path | None]]) -> None:
    """Measure the variants in turns, and print their medians."""
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, (settings, client) in variants.items():
            figures[name].append(ask(url, kind, settings, client))
    for name, rounds in figures.items():
        cpu, rate = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{kind:<10} {name:<20} {cpu:6.3f} ms CPU per image  {rate:6.0f} images/s", flush=True)


if __name__ == "__main__":
    main()
