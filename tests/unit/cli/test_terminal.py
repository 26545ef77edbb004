"""Every kind of terminal, pipe and end: no traceback, no escape sequence from outside."""

import os
import signal
import subprocess
import sys

import pytest

from littlebig_cli.rows import FORMATS, show_rows


def run(code: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, env={**os.environ, **environment}
    )


TABLE = (
    "from littlebig_cli import terminal, rows\n"
    "terminal.accept_anything()\n"
    "rows.show_rows(['name', 'n'], [{'name': 'caf\\xe9 \\u65e5', 'n': '1'}], %r)"
)


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"LANG": "C", "LC_ALL": "C"}], ids=str)
@pytest.mark.parametrize("form", [form for form in FORMATS if form != "json"])
def test_table_is_printed_on_an_ascii_terminal(form, environment):
    process = run(TABLE % form, **environment)
    assert (process.returncode, process.stderr) == (0, b"")
    assert b"caf" in process.stdout


@pytest.mark.parametrize("words", ["doctor", "--version", "classify nothing.png"])
def test_closed_stdout_and_stderr_are_no_failure_of_their_own(words):
    command = f'"{sys.executable}" -m littlebig_cli {words}'
    shell = subprocess.run(["/bin/sh", "-c", f"{command} >&-"], capture_output=True, text=True, check=False)
    assert "Traceback" not in shell.stderr
    assert subprocess.run(["/bin/sh", "-c", f"{command} >&- 2>&-"], check=False).returncode == shell.returncode


@pytest.mark.parametrize("columns", [1, 20, 80])
def test_terminal_of_any_width_shows_every_column(columns):
    process = run(TABLE % "table", COLUMNS=str(columns), FORCE_COLOR="1", NO_COLOR="1", PYTHONIOENCODING="utf-8")
    assert "caf\xe9 \u65e5" in process.stdout.decode()


def test_no_color_turns_colours_off():
    code = "from littlebig_cli.terminal import console; console().print('x', style='red')"
    assert b"31m" in run(code, FORCE_COLOR="1", TERM="xterm").stdout
    assert b"31m" not in run(code, FORCE_COLOR="1", TERM="xterm", NO_COLOR="1").stdout


def test_piped_table_does_not_wrap(capsys):
    show_rows(["name", "n"], [{"name": "long " * 100, "n": "1"}], "table")
    _, _, row = capsys.readouterr().out.splitlines()
    assert row.startswith("long long")
    assert row.endswith("1")


@pytest.mark.parametrize("form", ["table", "md"])
def test_cells_are_printed_verbatim_but_for_control_characters(capsys, form):
    show_rows(["name", "n"], [{"name": "[red]a\x1b[2J\nb", "n": "1"}], form)
    assert r"[red]a\x1b[2J b" in capsys.readouterr().out


def test_markdown_cell_keeps_its_bars(capsys):
    show_rows(["name", "n"], [{"name": "a|b", "n": "1"}], "md")
    assert capsys.readouterr().out.splitlines()[-1] == r"| a\|b | 1 |"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["\x1b[2Jcommand"], b"Error: No such command '\\x1b[2Jcommand'."),
        (["classify", "a.png", "--url", "a\x1bb"], b"not 'a\\x1bb'"),
        (["classify", "a.png", "--policy", "\x1b\n"], b"'\\x1b"),
        (["predict", "--data", "\x1b\x07", "--output", "x"], b"\\x1b\\x07"),
    ],
    ids=["command", "url", "choice", "path"],
)
def test_error_does_not_repeat_control_characters(words, line):
    process = run(f"from littlebig_cli.main import main; main({words!r})")
    assert process.returncode != 0
    assert line in process.stderr
    assert b"\x1b" not in process.stderr


END = (
    "import click\nfrom littlebig_cli import main as cli\n"
    "@cli.littlebig.command('end')\n"
    "def end():\n    %s\n"
    "cli.LazyCommands.get_command = lambda self, ctx, name: end\n"
    "cli.main(['end'])"
)


def test_ctrl_c_ends_a_command_silently_with_130():
    process = run(END % "raise KeyboardInterrupt")
    assert (process.returncode, process.stdout, process.stderr) == (130, b"", b"")


def test_ctrl_c_while_the_command_is_imported_ends_it_silently():
    process = run(
        "import signal, sys\n"
        "class Finder:\n"
        "    def find_spec(name, *_):\n"
        "        name == 'click' and signal.raise_signal(signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.meta_path.insert(0, Finder)\n"
        "from littlebig_cli.__main__ import run; run()"
    )
    assert (process.returncode, process.stdout, process.stderr) == (-signal.SIGINT, b"", b"")


@pytest.mark.parametrize("printing", ["click.echo('x' * 10)", "print('x' * 100000)", "print('x'); raise SystemExit(1)"])
def test_closed_pipe_ends_a_command_silently_with_141(printing):
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen([sys.executable, "-c", END % printing], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (141, b"")
