"""The command in a shell: completion, defaults from the environment, and the version with its commit."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from littlebig_cli import main as cli
from littlebig_contract import version

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "command.md").read_text(encoding="utf-8")


def completed(words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What the shell gets for a line whose last word is completed."""
    asked = {"_LITTLEBIG_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    return subprocess.run(
        [sys.executable, "-m", "littlebig_cli"],
        env={**os.environ, **asked, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("littlebig pre", ["plain,predict", "plain,preflight"]),
        ("littlebig --v", ["plain,--version"]),
        ("littlebig classify --tls-c", ["plain,--tls-ca", "plain,--tls-cert"]),
        ("littlebig classify --policy c", ["plain,cascade"]),
        ("littlebig no-such-command x", []),
    ],
)
def test_words_are_completed(words, expected):
    process = completed(words)
    assert (process.stdout.split(), process.stderr) == (expected, "")


def test_completion_of_a_command_without_its_extra_is_silent(tmp_path):
    (tmp_path / "pyarrow.py").write_text("raise ModuleNotFoundError(name='pyarrow')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    process = completed("littlebig calibrate --rul", PYTHONPATH=path)
    assert (process.stdout.strip(), process.stderr) == ("", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_page_has_the_line_for_each_shell_and_it_gives_a_script(shell):
    (line,) = re.findall(rf".*_LITTLEBIG_COMPLETE={shell}_source littlebig.*", PAGE)
    process = subprocess.run(
        [sys.executable, "-m", "littlebig_cli"],
        env={**os.environ, "_LITTLEBIG_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"_LITTLEBIG_COMPLETE={shell}_complete" in process.stdout
    assert line


def test_bash_completes_after_the_line_of_the_page(tmp_path):
    command = tmp_path / "littlebig"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m littlebig_cli "$@"\n')
    command.chmod(0o755)
    (line,) = re.findall(r".*_LITTLEBIG_COMPLETE=bash_source littlebig.*", PAGE)
    script = (
        f'{line}\nCOMP_WORDS=(littlebig dem); COMP_CWORD=1\n_littlebig_completion littlebig; echo "${{COMPREPLY[@]}}"'
    )
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    words = ["/bin/bash", "-c", script]
    process = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (process.stdout, process.stderr) == ("demo\n", "")


def text_for(option: click.Option) -> str:
    """A valid value of an option, as text in the environment."""
    if option.is_flag:
        return "1"
    if isinstance(option.type, click.Choice):
        return str(option.type.choices[0])
    if isinstance(option.type, click.types.FloatParamType | click.types.IntParamType):
        low, high = getattr(option.type, "min", None), getattr(option.type, "max", None)
        return "0.5" if high == 1 else str(max(low or 0, 7))
    if isinstance(option.type, click.Path):
        return str(Path(__file__) if option.type.file_okay else Path(__file__).parent)
    return "a=b"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_option_takes_its_default_from_the_environment(name, monkeypatch):
    command = cli.littlebig.get_command(click.Context(cli.littlebig), name)
    context = click.Context(command)
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            monkeypatch.setenv(cli.variable(name, option), text_for(option))
            value, source = option.consume_value(context, {})
            assert source.name == "ENVIRONMENT", option.name
            assert option.type_cast_value(context, value) not in (None, (), ""), option.name


def test_variable_is_named_after_command_and_option():
    command = cli.littlebig.get_command(click.Context(cli.littlebig), "plan")
    (option,) = (option for option in command.params if option.name == "form")
    assert cli.variable("plan", option) == "LITTLEBIG_PLAN_FORMAT"
    (option,) = (option for option in command.params if "--tritonserver" in option.opts)
    assert cli.variable("plan", option) == "LITTLEBIG_PLAN_TRITONSERVER"


def test_variable_of_another_service_named_littlebig_is_no_option():
    # Kubernetes sets these for a Service `littlebig`.
    environment = {
        "LITTLEBIG_PORT": "tcp://10.0.0.1:8001",
        "LITTLEBIG_SERVICE_HOST": "10.0.0.1",
        "LITTLEBIG_VERSION": "1",
    }
    result = CliRunner(env=environment).invoke(cli.littlebig, ["demo", "--help"])
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_version_names_the_commit_of_a_checkout(tmp_path, monkeypatch):
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    (tmp_path / "file").touch()
    for words in (["init", "-q"], ["add", "file"], ["commit", "-qm", "First"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout[:12]
    monkeypatch.setattr(version, "_HERE", tmp_path / "contract" / "littlebig_contract")
    monkeypatch.setattr(version, "_BUILT_FROM", tmp_path / "commit.txt")
    assert version.version().endswith(f" ({commit})")
    (tmp_path / "file").write_text("changed")
    assert version.version().endswith(f" ({commit}-dirty)")
    (tmp_path / "commit.txt").write_text("built\n")
    assert version.version().endswith(" (built)")


def test_version_outside_a_checkout_is_the_number_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(version, "_HERE", tmp_path / "contract" / "littlebig_contract")
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", version.version())
