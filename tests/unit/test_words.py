"""The retired words of docs/glossary.md do not come back in code, configuration or documentation."""

import functools
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
EXCLUDED = ("docs/glossary.md", "CHANGELOG.md", "LICENSE", "experiments/", "benchmarks/results/")
# Ordinary English words, which prose may use: they are retired as names only.
RETIRED_AS_NAMES = {"Place", "Relief", "Waiting", "clockwork", "patience", "room", "spare", "spared", "told"}


def retired_words(page: str) -> list[str]:
    """Words in the first column of the page's table "Retired words"."""
    table = page.split("\n## Retired words\n")[1].split("\n## ", maxsplit=1)[0]
    return [word for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for word in re.findall("`(.+?)`", row)]


def lines_with(word: str, text: str) -> list[int]:
    """Numbers of the lines that contain a word as a whole."""
    pattern = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
    return [number for number, line in enumerate(text.splitlines(), 1) if pattern.search(line)]


def names_in(source: str) -> Iterator[tuple[str, int]]:
    """Identifiers of a Python source and the parts between their underscores, with their lines."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            for name in {token.string, *token.string.split("_")}:
                yield name, token.start[0]


def lines_with_name(word: str, source: str) -> list[int]:
    """Numbers of the lines of a Python source that contain a word as an identifier, or as a part of one."""
    return sorted({line for name, line in names_in(source) if name == word})


@functools.cache
def tracked_texts() -> dict[str, str]:
    """Path -> text of every tracked text file that is checked."""
    command = ["git", "ls-files", "-z"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs a git checkout")
    texts = {}
    for name in filter(None, listing.split("\0")):
        path = ROOT / name
        if name.startswith(EXCLUDED) or not path.is_file() or path.is_symlink():
            continue
        try:
            texts[name] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a picture
            continue
    return texts


def test_every_word_that_is_retired_as_a_name_is_in_the_glossary():
    assert set(retired_words(GLOSSARY.read_text(encoding="utf-8"))) >= RETIRED_AS_NAMES


@pytest.mark.parametrize("word", retired_words(GLOSSARY.read_text(encoding="utf-8")))
def test_retired_word_is_not_used(word):
    uses = []
    for name, text in tracked_texts().items():
        if word not in text:
            continue
        if word not in RETIRED_AS_NAMES:
            uses += [f"{name}:{line}" for line in lines_with(word, text)]
        elif name.endswith(".py"):
            uses += [f"{name}:{line}" for line in lines_with_name(word, text)]
    assert not uses, f"'{word}' is retired, see docs/glossary.md: {', '.join(uses)}"


def test_words_are_read_from_the_table():
    page = "# G\n\n## Words\n\n| `kept` | x |\n\n## Retired words\n\n| retired | use |\n| --- | --- |\n| `old`, `so old` | `new` |\n"
    assert retired_words(page) == ["old", "so old"]


def test_words_are_matched_as_a_whole():
    text = "old\nolder\nfold\nan `old` word\nso old!\nOld\nold_name"
    assert lines_with("old", text) == [1, 4, 5]
    assert lines_with("so old", text) == [5]


def test_names_are_matched_in_identifiers_not_in_strings_or_comments():
    source = "old = 1  # old\ny = 'old'\nx.old()\nolder = x.very_old\ndef test_old_way(): pass\n"
    assert lines_with_name("old", source) == [1, 3, 4, 5]
