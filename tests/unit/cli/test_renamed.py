"""Removed commands and renamed options answer with one line that names the replacement."""

import click
import pytest
from click.testing import CliRunner

from littlebig_cli.renamed import removed_command, renamed_option


@click.command()
@click.option("--score", default="confidence", help="What is compared with the threshold.")
@renamed_option("--gate", "use --score")
def choose(score):
    """Choose a threshold."""
    click.echo(score)


@pytest.mark.parametrize(
    "arguments",
    [["--gate", "margin"], ["--gate=margin"], ["--gate"], ["--gate="], ["--gate", "margin", "--score", "margin"]],
    ids=" ".join,
)
def test_renamed_option_answers_with_one_line(arguments):
    result = CliRunner().invoke(choose, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "littlebig: option --gate no longer exists: use --score\n"


def test_command_runs_without_the_renamed_option():
    assert CliRunner().invoke(choose, ["--score", "margin"]).output == "margin\n"


def test_help_does_not_list_the_renamed_option():
    assert "--gate" not in CliRunner().invoke(choose, ["--help"]).output


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["results.json", "--rounds", "3"]], ids=" ".join)
def test_removed_command_answers_with_one_line(arguments):
    command = removed_command("overload", "littlebig bench --only overload")
    result = CliRunner().invoke(command, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "littlebig: 'littlebig overload' no longer exists: use 'littlebig bench --only overload'\n"
