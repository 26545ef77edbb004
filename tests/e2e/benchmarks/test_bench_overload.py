"""`littlebig bench --only overload` on a pair of tiny models: that it counts every request."""

import csv
import json
import subprocess
import sys

import pytest

from littlebig_benchmarks import images
from littlebig_benchmarks.load import Load
from littlebig_benchmarks.load import run as send
from littlebig_benchmarks.serving import serving

pytestmark = [pytest.mark.slow, pytest.mark.serial]


def test_every_request_is_counted_and_labels_of_the_cascade_itself_are_all_right(mixed_repository, tmp_path):
    encoded = images.crops(images.photographs(None), 40, seed=0)
    (tmp_path / "served").mkdir()
    with serving(mixed_repository, {}, tmp_path / "served", None) as served:
        pictures = images.look_through(served, encoded)
        mix = images.Mix(order=pictures.unsure.argsort(), unsure=pictures.unsure[pictures.unsure.argsort()])
        replies = send(served.endpoint, Load("little_big", 60.0, concurrency=2, requests=40), pictures, mix).replies
    labels = {reply.picture: reply.label for reply in replies}
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label"])
        for number, content in enumerate(encoded):
            (tmp_path / f"{number:02}.jpg").write_bytes(content)
            rows.writerow([f"{number:02}.jpg", labels[number]])
    words = ["--data", tmp_path / "labels.csv", "--overload-seconds", 1, "--excess", 0.4, "--latency-target", 60_000]
    words += ["--only", "overload", "--repository", mixed_repository, "--output", tmp_path / "out"]
    run = subprocess.run(
        [sys.executable, "-m", "littlebig_cli", "bench", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    outcome = json.loads((tmp_path / "out" / "report.json").read_text())["overload"]
    unsure = float(pictures.unsure.mean())
    assert (outcome["calm"]["sent"], outcome["calm"]["escalated"]) == (40, pytest.approx(unsure))
    for name in ("calm", "overloaded", "first", "later"):
        part = outcome[name]
        assert part["sent"] == part["answered"] + sum(part["rejected"].values())
        assert (part["lost"], part["shed"], part["accuracy"]) == (0, 0.0, 1.0)
    assert "## Overload" in run.stdout
