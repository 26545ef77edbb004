"""`littlebig overload` on a pair of tiny models: that it counts what it says, not how much anything can bear."""

import csv
import json
import subprocess
import sys

import pytest
from tests.tiny_pair import write_tiny_pair

from littlebig_benchmarks import images
from littlebig_benchmarks.load import Load
from littlebig_benchmarks.load import run as ask
from littlebig_benchmarks.serving import serving
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    export_pair(load_pair(str(write_tiny_pair(folder))), "cpu", folder / "models", threshold=0.9)
    return folder / "models"


def test_labels_that_are_the_cascades_own_answers_are_all_right_and_nobody_is_forgotten(repository, tmp_path):
    encoded = images.crops(images.photographs(None), 40, seed=0)
    (tmp_path / "served").mkdir()
    with serving(repository, {}, tmp_path / "served", None) as served:
        pictures = images.look_through(served, encoded)
        mix = images.Mix(order=pictures.unsure.argsort(), unsure=pictures.unsure[pictures.unsure.argsort()])
        replies = ask(served.url, Load("little_big", 60.0, clients=2, requests=40), pictures, mix).replies
    labels = {reply.picture: reply.label for reply in replies}
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "label"])
        for number, content in enumerate(encoded):
            (tmp_path / f"{number:02}.jpg").write_bytes(content)
            rows.writerow([f"{number:02}.jpg", labels[number]])
    words = ["--data", tmp_path / "labels.csv", "--seconds", 1, "--excess", 0.4, "--latency-target", 60_000]
    words += ["--repository", repository, "--output", tmp_path / "out"]
    said = subprocess.run(
        [sys.executable, "-m", "littlebig_cli", "overload", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    found = json.loads((tmp_path / "out" / "overload.json").read_text())
    unsure = float(pictures.unsure.mean())
    assert (found["calm"]["sent"], found["calm"]["escalated"]) == (40, pytest.approx(unsure))
    for name in ("calm", "overloaded", "first", "later"):
        one = found[name]
        assert one["sent"] == one["answered"] + sum(one["rejected"].values())
        assert (one["lost"], one["spared"], one["accuracy"]) == (0, 0.0, 1.0)
    assert (tmp_path / "out" / "overload.md").read_text() == said.stdout.rstrip("\n") + "\n"
