"""Modules that a first request would otherwise wait for."""

import sys
from pathlib import Path

import pytest


@pytest.mark.skipif("_asyncio" in sys.builtin_module_names, reason="asyncio is built into this Python: no file to see")
def test_modules_that_the_stub_imports_for_the_first_request_are_imported_at_load(load_gate):
    running = load_gate()
    running.triton.load_model("preprocess")
    for model in (running.gate, "preprocess"):
        (process,) = running.stub(model)[:1]
        assert "_asyncio" in Path(f"/proc/{process}/maps").read_text(), model
