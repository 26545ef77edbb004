"""Text from outside becomes one printable line."""

import pytest

from littlebig_contract.text import LONGEST, one_line, printable


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("plain name.png", "plain name.png"),
        ("Größe 日本 é\u0301.png", "Größe 日本 é\u0301.png"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b31m\x07", r"\x9b31m\x07"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("a\u2028b\x85c", r"a\u2028b\x85c"),
        ("\udcff.png", r"\udcff.png"),
        ("", ""),
    ],
)
def test_what_a_terminal_interprets_is_escaped(text, safe):
    assert printable(text) == safe


def test_message_of_several_lines_becomes_one():
    assert one_line("one\n  two\r\nthree ") == "one two three"


@pytest.mark.parametrize("text", ["x" * 10**6, "\x1b" * 10**6])
def test_long_text_is_cut(text):
    assert len(printable(text)) == LONGEST
    assert printable(text, 10)[-1] == "\N{HORIZONTAL ELLIPSIS}"
    assert len(printable(text, 10)) == 10
