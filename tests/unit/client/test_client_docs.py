"""docs/client.md holds what the code says; its Python and the README's runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_triton import encoded_picture

import littlebig_client

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE + README, re.DOTALL)


def test_the_error_tree_is_the_one_in_the_code():
    tree = littlebig_client._errors.__doc__.split("\n\n")[1]
    assert tree in PAGE


def test_every_public_error_and_stage_is_on_the_page():
    for name in littlebig_client.__all__:
        if isinstance(getattr(littlebig_client, name), type) and name != "ImageInput":
            assert name in PAGE
    for stage in littlebig_client.Stage:
        assert f"`{stage.name}` | `{stage}`" in PAGE


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_python_on_the_pages_runs(server, tmp_path, monkeypatch, capsys, block):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "coffee.png").write_bytes(encoded_picture(3))
    (tmp_path / "cat.jpg").write_bytes(encoded_picture(3, kind="JPEG"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(encoded_picture(3, kind="JPEG"))
    block = block.replace("Client()", f'Client("{server.url}")').replace("localhost:8001", server.url)
    exec(block, {})  # noqa: S102  (our own page)
    assert "file: a tool" in capsys.readouterr().out
