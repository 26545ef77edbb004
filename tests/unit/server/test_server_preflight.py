"""What `littlebig preflight` refuses, each in one line, before a server would fail at it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from littlebig_cli.main import littlebig
from littlebig_server import ServerError
from littlebig_server.preflight import MODELS, preflight

MIB = 1 << 20


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    for model in MODELS:
        (folder / model / "1").mkdir(parents=True)
        (folder / model / "config.pbtxt").touch()
    write(folder / "littlebig.json", {"threshold": {"value": 0.4, "source": "calibration.json"}})
    write(folder / "calibration.json", {"chosen": {"threshold": 0.4}})
    return folder


def write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


def refusal(repository: Path, **options: object) -> str:
    with pytest.raises(ServerError) as refused:
        preflight(repository, require_calibration=True, least=0, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_what_is_whole_and_calibrated_passes(repository: Path) -> None:
    line = preflight(repository, require_calibration=True, least=0)
    assert line.startswith(f"{repository}: threshold 0.4 from calibration.json; /dev/shm: ")


def test_the_command_exits_with_one_line(repository: Path) -> None:
    words = ["preflight", "--repository", str(repository), "--least-shared-memory"]
    assert CliRunner().invoke(littlebig, [*words, "0"]).exit_code == 0
    result = CliRunner().invoke(littlebig, [*words, str(1 << 40)])
    assert result.exit_code == 1
    assert result.output.startswith("littlebig: '/dev/shm' holds ")
    assert result.output.endswith(
        f" MiB, Triton's Python backend needs at least {1 << 40} MiB: raise shm.size of the chart, or --shm-size of "
        "docker run\n"
    )


def test_what_would_only_be_slow_is_told_and_passes(repository: Path) -> None:
    policy = 'name: "big"\ndynamic_batching { default_queue_policy { max_queue_size: 8 } }\n'
    (repository / "big" / "config.pbtxt").write_text(policy)
    words = ["preflight", "--repository", str(repository), "--least-shared-memory", "0"]
    result = CliRunner().invoke(littlebig, words)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{repository}: threshold 0.4 from calibration.json; ")
    assert result.stderr.startswith(f"littlebig: warning: '{repository}/big/config.pbtxt' has a queue policy and ")


def test_shared_memory_that_is_not_there(repository: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert refusal(repository, shared_memory=nowhere) == (
        f"'{nowhere}' cannot be used: No such file or directory; Triton's Python backend needs it"
    )


@pytest.mark.parametrize("model", MODELS)
def test_a_model_without_its_configuration_or_its_version(repository: Path, model: str) -> None:
    (repository / model / "config.pbtxt").unlink()
    assert refusal(repository) == (
        f"'{repository}/{model}/config.pbtxt' is missing: the repository is not whole, copy it again"
    )
    (repository / model / "config.pbtxt").touch()
    (repository / model / "1").rmdir()
    assert (
        refusal(repository)
        == f"'{repository}/{model}' has no version folder: the repository is not whole, copy it again"
    )


def test_a_model_that_is_missing(repository: Path) -> None:
    shutil.rmtree(repository / "big")
    assert refusal(repository) == (
        f"'{repository}/big/config.pbtxt' is missing: the repository is not whole, copy it again"
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is missing: the repository is not whole, copy it again"),
        ("not json", "cannot be read: Expecting value: line 1 column 1 (char 0)"),
        ("[]", "is no JSON object: the repository is not whole, copy it again"),
    ],
)
def test_a_note_that_does_not_say_what_the_repository_is(repository: Path, content: str | None, said: str) -> None:
    note = repository / "littlebig.json"
    note.unlink() if content is None else note.write_text(content)
    assert refusal(repository) == f"'{note}' {said}"


def test_a_threshold_that_nobody_has_measured(repository: Path) -> None:
    write(repository / "littlebig.json", {"threshold": {"value": 0.55, "source": "pair"}})
    assert refusal(repository) == (
        f"'{repository}' has no calibration, its threshold 0.55 is from 'pair': run 'littlebig calibrate ... --apply', "
        "or allow it with calibration.required=false of the chart"
    )
    assert "threshold 0.55 from pair" in preflight(repository, least=0)


def test_a_calibration_that_was_lost_on_the_way(repository: Path) -> None:
    (repository / "calibration.json").unlink()
    assert refusal(repository).startswith(f"'{repository}' has no calibration, its threshold 0.4 is from ")


def test_a_calibration_of_another_threshold(repository: Path) -> None:
    write(repository / "calibration.json", {"chosen": {"threshold": 0.3}})
    assert refusal(repository) == (
        f"'{repository}/calibration.json' chose the threshold 0.3, the repository says 0.4: apply it again with "
        "'littlebig apply'"
    )
