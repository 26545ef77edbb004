"""The container of deploy/kserve.yaml on a read-only mount, as KServe mounts a model."""

from __future__ import annotations

import subprocess
import sys
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


@pytest.fixture
def mount_point(tmp_path) -> Path:
    target = tmp_path / "mnt"
    target.mkdir()
    touch = behind_read_only_mount(target, target, "touch", str(target / "file"))
    try:
        result = subprocess.run(touch, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs unshare (util-linux)")
    if "Read-only file system" not in result.stderr:
        pytest.skip(f"needs user namespaces: {result.stderr.strip()}")
    return target


def test_the_runtime_classifies_and_heals_on_a_read_only_mount(tiny_repository, mount_point, tmp_path):
    runtime, _ = yaml.safe_load_all(MANIFEST.read_text())
    (container,) = runtime["spec"]["containers"]
    # With a model image (oci://) KServe makes the model's folder a link.
    link = tmp_path / "models"
    link.symlink_to(mount_point)
    _, *words = [word.replace("/mnt/models", str(link)) for word in [*container["command"], *container["args"]]]
    triton = words.index("--")
    words = [sys.executable, "-m", "littlebig_cli", *words[:triton], *FREE, *words[triton:]]
    log = tmp_path / "log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            behind_read_only_mount(tiny_repository, mount_point, *words),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        served = Served(process, log)
        url = f"127.0.0.1:{served.url.rpartition(':')[2]}"
        with Client(url) as client:
            assert client.classify(np.zeros((32, 32, 3), np.uint8)).label is not None
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            command = [word.replace("localhost:8001", url) for word in container[probe]["exec"]["command"][1:]]
            done = CliRunner().invoke(littlebig, command)
            assert (done.exit_code, done.output) == (0, ""), probe
        served.stubs("little")[0].kill()
        assert eventually(lambda: "model 'little' is loaded again" in served.log)
        assert "Read-only file system" not in served.log
    finally:
        process.kill()
        process.communicate()
