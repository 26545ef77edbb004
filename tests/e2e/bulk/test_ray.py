"""docs/batch.md's pipeline on a local Ray: a worker is killed, and every picture has one row."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from littlebig_server import TritonServer

PAGE = Path(__file__).parents[3] / "docs" / "batch.md"
START = "import ray\nray.init(num_cpus=3, include_dashboard=False, logging_level='ERROR')\n"


def pipeline(photos: Path, url: str, output: Path) -> str:
    """The page's first Python, with this machine's places."""
    block = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    for on_page, here in (("s3://bucket/photos", photos), ("triton.example:8001", url), ('"answers"', f'"{output}"')):
        assert on_page in block
        block = block.replace(on_page, str(here))
    return START + block


def answered(server: TritonServer) -> int:
    counters = re.findall(r'nv_inference_request_success{model="classify",\S*} (\d+)', server.read_metrics())
    return sum(map(int, counters))


def workers(driver: psutil.Process) -> list[psutil.Process]:
    """Processes that run BatchClassifier."""
    found = []
    for process in driver.children(recursive=True):
        try:
            if "MapWorker" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow  # Ray takes ten seconds to start
def test_pipeline_answers_every_picture_once_although_a_worker_is_killed(tiny_server, photos, tmp_path):
    script = pipeline(photos, tiny_server.grpc_url, tmp_path / "answers")
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", script], stdout=log, stderr=subprocess.STDOUT)
    try:
        driver = psutil.Process(process.pid)
        deadline = time.monotonic() + 200
        killed = None
        while process.poll() is None and time.monotonic() < deadline:
            if killed is None and answered(tiny_server) > 100:
                killed, *others = workers(driver)
                assert others
                killed.send_signal(signal.SIGKILL)
            time.sleep(0.05)
        assert process.poll() == 0, (tmp_path / "log").read_text()[-3000:]
    finally:
        process.kill()
        process.wait()
    assert killed is not None
    rows = pq.read_table(tmp_path / "answers").to_pylist()
    assert sorted(Path(row["path"]).name for row in rows) == sorted(path.name for path in photos.iterdir())
    assert [Path(row["path"]).name for row in rows if row["error"]] == ["broken.png"]
    assert answered(tiny_server) >= len(rows) - 1
