"""What a model's first request does not wait for."""

import sys
from pathlib import Path

import pytest

from littlebig_benchmarks.processes import server_processes
from littlebig_server import ServerSettings, TritonServer


@pytest.mark.skipif("_asyncio" in sys.builtin_module_names, reason="asyncio is built into this Python: no file to see")
def test_what_the_stub_imports_for_the_first_request_is_there_before_it(tiny_repository):
    with TritonServer(tiny_repository, ServerSettings()) as server:
        files = {
            model: Path(f"/proc/{process.pid}/maps").read_text() for model, process in server_processes(server.pid)
        }
    assert {model: "_asyncio" in files[model] for model in ("little_big", "preprocess")} == {
        "little_big": True,
        "preprocess": True,
    }
