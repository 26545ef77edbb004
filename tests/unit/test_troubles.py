"""Every message of docs/troubles.md occurs in the code, so that the table does not outlive it."""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubles.md").read_text(encoding="utf-8")
PARTS = ("calibration", "cli", "client", "contract", "export", "model_repository", "server", "benchmarks", "playground")
MESSAGES = re.findall(r"^\| `(.+?)` \|", PAGE.partition("## Without a message")[0], re.MULTILINE)


@functools.cache
def texts() -> list[str]:
    """Every string of the code but docstrings; of one with placeholders, the parts between them."""
    sources = (path.read_text(encoding="utf-8") for part in PARTS for path in (ROOT / part).rglob("*.py"))
    nodes = [node for source in sources for node in ast.walk(ast.parse(source))]
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    constants = [node for node in nodes if isinstance(node, ast.Constant) and id(node) not in docstrings]
    return [node.value for node in constants if isinstance(node.value, str)]


def test_table_has_messages():
    assert len(MESSAGES) > 30


@pytest.mark.parametrize("message", MESSAGES)
def test_message_is_in_the_code(message):
    for part in (part.strip(" '") for part in message.split("…")):
        assert any(part in text for text in texts()), part
