"""The container of deploy/kserve.yaml on a read-only mount, as KServe mounts a model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.e2e.server.conftest import eventually
from tests.e2e.server.test_server_heals import FREE, Served

from littlebig_cli.main import littlebig
from littlebig_client import Client

yaml = pytest.importorskip("yaml", reason="needs PyYAML: pip install 'littlebig[test]'")

MANIFEST = Path(__file__).parents[3] / "deploy" / "kserve.yaml"
# In namespaces of its own, so that no privileges are needed and nothing stays mounted.
NAMESPACES = ("unshare", "--user", "--map-root-user", "--mount")
MOUNT = 'mount --bind "$1" "$2" && mount -o remount,bind,ro "$2" && shift 2 && exec "$@"'


def behind_read_only_mount(source: Path, target: Path, *words: str) -> list[str]:
    """A command that sees the folder `source` at `target`, read-only."""
    return [*NAMESPACES, "sh", "-c", MOUNT, "sh", str(source), str(target), *words]


@pytest.fixture(scope="module")
def container():
    runtime, _ = yaml.safe_load_all(MANIFEST.read_text())
    (only,) = runtime["spec"]["containers"]
    return only


@pytest.fixture(scope="module")
def served(container, tiny_repository, tmp_path_factory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("kserve")
    target, link, log = folder / "mnt", folder / "models", folder / "log"
    target.mkdir()
    touch = behind_read_only_mount(target, target, "touch", str(target / "file"))
    try:
        result = subprocess.run(touch, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs unshare (util-linux)")
    if "Read-only file system" not in result.stderr:
        pytest.skip(f"needs user namespaces: {result.stderr.strip()}")
    # With a model image (oci://) KServe makes the model's folder a link.
    link.symlink_to(target)
    _, *words = [word.replace("/mnt/models", str(link)) for word in [*container["command"], *container["args"]]]
    triton = words.index("--")
    words = [sys.executable, "-m", "littlebig_cli", *words[:triton], *FREE, *words[triton:]]
    with log.open("w") as stderr:
        process = subprocess.Popen(
            behind_read_only_mount(tiny_repository, target, *words), stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    try:
        yield Served(process, log)
    finally:
        process.kill()
        process.communicate()


def test_it_classifies_and_every_probe_passes(served, container):
    url = f"127.0.0.1:{served.url.rpartition(':')[2]}"
    with Client(url) as client:
        assert client.classify(np.zeros((32, 32, 3), np.uint8)).label is not None
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        command = [word.replace("localhost:8001", url) for word in container[probe]["exec"]["command"][1:]]
        done = CliRunner().invoke(littlebig, command)
        assert (done.exit_code, done.output) == (0, ""), probe


def test_a_lost_process_is_replaced_without_a_write(served):
    served.stubs("preprocess")[0].kill()
    assert eventually(lambda: "model 'preprocess' is loaded again" in served.log)
    assert "Read-only file system" not in served.log
