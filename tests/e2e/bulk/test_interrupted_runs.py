"""`littlebig classify --output` at a real server: killed, stopped, and with a server that goes away and comes back."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tests.e2e.bulk.conftest import PICTURES

from littlebig_server import ServerSettings, TritonServer

CONCURRENCY = 8


def start(photos: Path, output: Path, url: str, *words: str) -> subprocess.Popen:
    # A background job of a shell inherits an ignored SIGINT; restore the default.
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from littlebig_cli.main import main; main()"
    )
    command = [
        "classify",
        str(photos),
        "--output",
        str(output),
        "--url",
        url,
        "--concurrency",
        str(CONCURRENCY),
        *words,
    ]
    return subprocess.Popen(
        [sys.executable, "-c", script, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_answers(process: subprocess.Popen, journal: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while not journal.exists() or journal.read_bytes().count(b"\n") <= count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def requests(server: TritonServer) -> int:
    page = server.read_metrics()
    return sum(
        int(n) for n in re.findall(r'nv_inference_request_(?:success|failure){model="classify",\S*} (\d+)', page)
    )


def checked(output: Path, photos: Path) -> list[dict]:
    """The table's rows: one for each picture, and one failure."""
    rows = pq.read_table(output).to_pylist()
    assert sorted(row["file"] for row in rows) == sorted(map(str, photos.iterdir()))
    assert [row["file"] for row in rows if row["error"]] == [f"{photos}/broken.png"]
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    return rows


def test_killed_and_stopped_run_continues_and_asks_for_no_answer_twice(tiny_server, photos, tmp_path):
    output, journal = tmp_path / "answers.parquet", tmp_path / "answers.parquet.journal"
    before = requests(tiny_server)
    process = start(photos, output, tiny_server.grpc_url)
    wait_for_answers(process, journal, 50)
    process.kill()
    process.communicate()
    process = start(photos, output, tiny_server.grpc_url)
    wait_for_answers(process, journal, 150)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (
        130,
        f"littlebig: stopped: {journal} keeps every answer, the same command continues\n",
    )
    assert not output.exists()
    process = start(photos, output, tiny_server.grpc_url)
    printed, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert f"{PICTURES:,} pictures: " in printed
    assert len(checked(output, photos)) == PICTURES
    # The killed run may repeat what was in flight; the stopped one repeats nothing.
    assert requests(tiny_server) - before <= PICTURES + 2 * CONCURRENCY


@pytest.mark.slow  # two starts of a server
def test_server_that_comes_back_is_waited_for(tiny_repository, photos, tmp_path):
    output = tmp_path / "answers.parquet"
    with TritonServer(tiny_repository) as first:
        port = int(first.grpc_url.rpartition(":")[2])
        second = TritonServer(tiny_repository, ServerSettings(grpc_port=port))
        process = start(photos, output, first.grpc_url, "--retry-for", "100", "--timeout", "100")
        wait_for_answers(process, tmp_path / "answers.parquet.journal", 200)
        restarting = threading.Thread(target=lambda: (first.wait(60), second.start()))
        os.kill(first.pid, signal.SIGKILL)
        restarting.start()
        try:
            _, errors = process.communicate(timeout=200)
        finally:
            restarting.join(120)
            second.stop()
    assert (process.returncode, errors) == (0, "")
    checked(output, photos)
