"""docs/client.md agrees with the code, and its Python and the README's run."""

import inspect
import re
from pathlib import Path

import click
import pytest
from fake_triton import encoded_picture

import littlebig_client
from littlebig_cli.classify import command

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [
    block for block in re.findall(r"```python\n(.*?)```", PAGE + README, re.DOTALL) if "triton.example" not in block
]


def test_page_shows_the_error_tree_of_the_code():
    tree = littlebig_client._errors.__doc__.split("\n\n")[1]
    assert tree in PAGE


def test_page_lists_every_public_class_and_stage():
    for name in littlebig_client.__all__:
        if isinstance(getattr(littlebig_client, name), type) and name != "ImageInput":
            assert name in PAGE
    for code, stage in littlebig_client._answers._STAGES.items():
        assert f"`{stage.name}` | `{stage}` | {code} |" in PAGE


@pytest.mark.parametrize("method", ["__init__", "classify", "classify_batch", "classify_many", "wait_until_ready"])
def test_page_has_every_parameter_with_its_default(method):
    name = "Client" if method == "__init__" else method
    (heading,) = re.findall(rf"^##+ `{name}\((.*?)\)", PAGE, re.MULTILINE)
    parameters = inspect.signature(getattr(littlebig_client.Client, method)).parameters.values()
    on_page = [word.strip() for word in heading.split(",")]
    in_code = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters if p.name != "self"]
    assert [word.replace('"', "'") for word in on_page if word != "*"] == in_code


def test_page_has_every_option_of_classify_and_its_variable():
    for option in command.params:
        if isinstance(option, click.Option):
            assert f"`{option.opts[0]}`" in PAGE
            assert all(f"`{name}`" in PAGE for name in re.findall(r"LITTLEBIG_[A-Z_]+", option.help))


def test_async_client_has_the_verbs_and_options_of_client():
    for name, method in vars(littlebig_client.Client).items():
        if not name.startswith("_"):
            twin = getattr(littlebig_client.AsyncClient, name)
            assert [(p.name, p.default) for p in inspect.signature(twin).parameters.values()] == [
                (p.name, p.default) for p in inspect.signature(method).parameters.values()
            ]


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_on_the_pages_runs(server, tmp_path, monkeypatch, capsys, block):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "coffee.png").write_bytes(encoded_picture(3))
    (tmp_path / "cat.jpg").write_bytes(encoded_picture(3, kind="JPEG"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(encoded_picture(3, kind="JPEG"))
    block = block.replace("Client()", f'Client("{server.url}")').replace("localhost:8001", server.url)
    exec(block, {})  # noqa: S102  (a page of the project)
    assert "file: a tool" in capsys.readouterr().out
