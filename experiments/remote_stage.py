"""A cascade whose big is on another server of this machine, beside the local cascade; everything in turns.

    python -m experiments.remote_stage [--quick]

Takes about 7 minutes, of which 2 export the pair to build/remote_stage when it is run first. Nothing else should run.
Wanted: images/s of the split cascade over the local one's >= 0.90; an escalated image <= 3 ms later at the median; sure
images' p99 with a dead big over that with a living one about 1.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import tritonclient.grpc
from tests.e2e.remote.conftest import change, serve, started
from tests.tiny_pair import tiny_classifier, write_tiny_pair

from littlebig_benchmarks import images, load
from littlebig_benchmarks.endpoint import Plain
from littlebig_benchmarks.serving import inspect
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair

PAIR, BUILD = "efficientnet-lite", Path("build/remote_stage")
ESCALATION, CONCURRENCY = 0.15, 16


def export_three(pair: str, folder: Path) -> Path:
    """Export the whole pair, big alone, and the rest, unless they are there."""
    options = {"local": {}, "big": {"only": "big"}, "split": {"remote": {"big": {"url": "localhost:1"}}}}
    for name, given in options.items():
        if not (folder / name / "littlebig.json").exists():
            export_pair(load_pair(pair), "cpu", folder / name, **given)
    return folder


def export_tiny(size: int, folder: Path) -> Path:
    """The same of a pair that costs next to nothing, with canonical images of `size` x `size`."""
    folder.mkdir()
    pair = write_tiny_pair(folder)
    tiny_classifier(folder / "big.onnx", size, seed=2)
    pair.write_text(pair.read_text().replace("size = 32", f"size = {size}").replace("0.6", "0.9", 1))
    return export_three(str(pair), folder)


class Servers:
    """The local cascade, big alone, and split cascades with little alone, as running servers of one pair."""

    def __init__(self, exported: Path, stack: ExitStack, *splits: str) -> None:
        """Start them; each split cascade's big is `living` or `dead`."""
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        big, self.local = serve(exported / "big"), serve(exported / "local")
        stack.enter_context(started(big, self.local))
        self.splits = []
        for number, state in enumerate(splits):
            folder = scratch / f"split{number}"
            shutil.copytree(exported / "split", folder)
            change(folder / "big" / "config.pbtxt", url=big.grpc_url if state == "living" else "localhost:1")
            change(folder / "little_big" / "config.pbtxt", on_big_failure="little")
            self.splits.append(serve(folder))
        stack.enter_context(started(*self.splits))
        encoded = images.crops(images.photographs(None), 80, seed=0)
        self.pictures = images.look_through(inspect(Plain(self.local.grpc_url)), encoded)

    def answers(self, server, seconds: float, **how) -> load.Answers:
        """One run of our own load."""
        mix = images.mix(self.pictures, ESCALATION, how.get("concurrency", 8), seed=0)
        return load.run(Plain(server.grpc_url), load.Load("little_big", seconds, **how), self.pictures, mix)

    def rate(self, concurrency: int, server, seconds: float) -> float:
        """Images per second of one run."""
        return self.answers(server, seconds, concurrency=concurrency).images_per_second


def added_latency(name: str, exported: Path, count: int) -> None:
    """Milliseconds until an image is answered by big, one at a time, local and split."""
    with ExitStack() as stack:
        servers = Servers(exported, stack, "living")
        pixels = servers.pictures.canonical[:1]
        tensor = tritonclient.grpc.InferInput("image", list(pixels.shape), "UINT8").set_data_from_numpy(pixels)
        clients = [
            stack.enter_context(tritonclient.grpc.InferenceServerClient(server.grpc_url))
            for server in (servers.local, *servers.splits)
        ]
        took = np.empty((2, count))
        for turn in range(count):
            for which in (turn % 2, 1 - turn % 2):
                start = time.perf_counter()
                clients[which].infer("little_big", [tensor], parameters={"policy": "big"})
                took[which, turn] = (time.perf_counter() - start) * 1e3
    local, split = took[:, count // 10 :]
    size = f"{pixels.nbytes / 1e3:.0f} KB, {name}"
    figures = f"local {np.median(local):.2f} ms, split {np.median(split):.2f} ms"
    print(f"escalated image, {size}: {figures}, added (median of pairs) {np.median(split - local):.2f} ms", flush=True)


def turns(name: str, one, other, count: int, seconds: float) -> None:
    """Print the ratio of two measurements that are repeated in turns (ABBA)."""
    one(1.0), other(1.0)  # warm-up
    values = []
    for turn in range(count):
        if turn % 2:
            divisor, value = other(seconds), one(seconds)
        else:
            value, divisor = one(seconds), other(seconds)
        values.append((round(value, 2), round(divisor, 2)))
    ratios = [value / divisor for value, divisor in values]
    print(f"{name}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) {values}", flush=True)


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short turn of each: a check of this script")
    count, seconds = (1, 1.0) if parser.parse_args().quick else (5, 5.0)
    with tempfile.TemporaryDirectory() as folder:
        tinies = [export_tiny(size, Path(folder) / str(size)) for size in (32, 260)]
        for exported in tinies:
            added_latency("stages that cost nothing", exported, 60 * count)
        with ExitStack() as stack:
            cheap = Servers(tinies[-1], stack, "dead", "living")

            def p99(split, seconds):
                return np.percentile(cheap.answers(cheap.splits[split], seconds, request_rate=60.0).sure_ms, 99).item()

            dead, living = (partial(p99, split) for split in (0, 1))
            turns("sure images' p99 in ms, dead big over living", dead, living, count + 1, seconds)
    real = export_three(PAIR, BUILD / PAIR)
    added_latency(PAIR, real, 12 * count)
    with ExitStack() as stack:
        servers = Servers(real, stack, "living", "living")
        local, (split, _) = partial(servers.rate, CONCURRENCY, servers.local), servers.splits

        def two(seconds):
            with ThreadPoolExecutor() as threads:
                half = partial(servers.rate, CONCURRENCY // 2, seconds=seconds)
                return sum(threads.map(half, servers.splits))

        turns("images/s, split over local", partial(servers.rate, CONCURRENCY, split), local, count, seconds)
        turns("images/s, two littles with one big over local", two, local, count, seconds)


if __name__ == "__main__":
    main()
