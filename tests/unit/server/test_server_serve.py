"""`littlebig serve` up to the start of the server: options, pairs, the export before it."""

import json
import socket
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from littlebig_cli.main import littlebig
from littlebig_cli.serve import command


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    (folder / "classify" / "1").mkdir(parents=True)
    (folder / "littlebig.json").write_text(json.dumps({"pair": {"name": "deit3"}}))
    return folder


@pytest.fixture
def exporter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fake `python` that records its arguments, makes a folder, and exits with the code in the file `code`."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\nmkdir {tmp_path}/new\nexit $(cat {tmp_path}/code)\n')
    python.chmod(0o755)
    (tmp_path / "code").write_text("0")
    monkeypatch.setattr(sys, "executable", str(python))
    return tmp_path


def serve(*words: str) -> Result:
    return CliRunner().invoke(command, words)


def test_a_repository_of_another_pair_is_refused(repository: Path) -> None:
    result = serve("--repository", str(repository), "--pair", "efficientvit")
    assert result.exit_code == 1
    assert result.output == (
        f"littlebig: '{repository}' was made for the pair 'deit3', not 'efficientvit': give another --repository, "
        f"or replace it with 'littlebig export --pair efficientvit --output {repository}'\n"
    )


@pytest.mark.parametrize("content", [None, "not json"])
def test_a_repository_that_names_no_pair_is_refused(repository: Path, content: str | None) -> None:
    (repository / "littlebig.json").unlink()
    if content is not None:
        (repository / "littlebig.json").write_text(content)
    result = serve("--repository", str(repository), "--pair", "deit3")
    assert result.exit_code == 1
    assert result.output == (
        f"littlebig: '{repository}' names no pair (littlebig.json is missing or unreadable): leave out --pair to serve "
        "it as it is, or give another --repository\n"
    )


def test_a_repository_of_the_same_pair_is_accepted(repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = serve("--repository", str(repository), "--pair", "deit3", "--http-port", str(port))
    assert result.exit_code == 1
    assert result.output == (  # it came as far as the ports
        f"littlebig: port {port} is taken (HTTP); choose another with --http-port or 0 for a free one\n"
    )


def test_a_missing_repository_is_exported_first(exporter: Path) -> None:
    new = exporter / "new"
    result = serve("--repository", str(new), "--pair", "deit3")
    assert (exporter / "called").read_text() == f"-m littlebig_cli export --pair deit3 --output {new}\n"
    assert result.output.endswith(
        f"model repository '{new}' has no models: make one with 'littlebig export --output DIR'\n"
    )


def test_a_failed_export_ends_the_command(exporter: Path) -> None:
    (exporter / "code").write_text("1")
    new = exporter / "new"
    result = serve("--repository", str(new), "--pair", "deit3")
    assert result.exit_code == 1
    assert result.output.endswith(
        f"littlebig: 'littlebig export --pair deit3 --output {new}' failed, see above: fix it, or run it by itself\n"
    )


def test_build_builds_engines_before_the_server_starts(exporter: Path, repository: Path) -> None:
    (exporter / "code").write_text("1")
    result = serve("--repository", str(repository), "--build")
    assert (exporter / "called").read_text() == f"-m littlebig_cli build --repository {repository}\n"
    assert result.exit_code == 1
    assert result.output.endswith(
        f"littlebig: 'littlebig build --repository {repository}' failed, see above: fix it, or run it by itself\n"
    )


def test_a_pair_file_is_refused_with_the_export_command() -> None:
    result = serve("--pair", "mine.toml")
    assert result.exit_code == 1
    assert result.output == (
        "littlebig: --pair takes a shipped pair's name; for your own: littlebig export --pair mine.toml, then serve\n"
    )


def test_an_existing_repository_is_not_exported_again(exporter: Path, repository: Path) -> None:
    serve("--repository", str(repository), "--pair", "efficientvit")
    assert not (exporter / "called").exists()


def test_without_a_pair_nothing_is_exported(exporter: Path) -> None:
    new = exporter / "new"
    result = serve("--repository", str(new))
    assert result.exit_code == 1
    assert result.output == (
        f"littlebig: model repository '{new}' does not exist: make one with 'littlebig export --output DIR'\n"
    )
    assert not (exporter / "called").exists()


def test_an_argument_that_serve_sets_is_refused() -> None:
    result = serve("--", "--http-port=9000")
    assert result.exit_code == 1
    assert result.output == (
        "littlebig: --http-port is not passed on to tritonserver: use --http-port of littlebig serve\n"
    )


def test_help_has_an_example_and_the_defaults() -> None:
    output = CliRunner().invoke(littlebig, ["serve", "--help"]).output
    assert "Example:  littlebig serve" in output
    for default in ("build/model_repository", "127.0.0.1", "8000", "8001", "8002", "120", "30"):
        assert default in output


def test_the_documentation_names_every_option() -> None:
    page = (Path(__file__).parents[3] / "docs" / "server.md").read_text()
    options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
    assert len(options) == 15
    assert [option for option in options if f"`{option}`" not in page] == []
