import pytest
from littlebig_quoting import quoted


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain text", "plain text"),
        ("", ""),
        ("two\r\nlines\ttab\0", "two\\r\\nlines\\ttab\\x00"),
        ("\x1b[31mred\x9b0m\u202eright to left", "\\x1b[31mred\\x9b0m\\u202eright to left"),
        ("Zürich \U0001f600", "Z\\xfcrich \\U0001f600"),
        ("\udcff from bytes that are no UTF-8", "\\udcff from bytes that are no UTF-8"),
        (ValueError("a\nb"), "a\\nb"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_text_from_outside_is_one_line_of_printable_ascii(text, line):
    assert quoted(text) == line


@pytest.mark.parametrize("letter", ["a", "\n", "\U0001f600"])
def test_long_text_is_cut(letter):
    line = quoted(letter * 10_000)
    assert len(line) == 120
    assert line.endswith("...")
    assert len(quoted(letter * 10_000, longest=300)) == 300


def test_text_of_just_the_longest_length_is_kept_whole():
    assert quoted("a" * 120) == "a" * 120
    assert quoted("a" * 121) == "a" * 117 + "..."
