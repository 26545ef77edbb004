"""`littlebig preflight` rejects each lack in one line before a server fails over it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from littlebig_cli.main import littlebig
from littlebig_contract.stages import MODELS
from littlebig_server import IncompleteRepositoryError, ServerError
from littlebig_server.preflight import preflight

PROVENANCE = {"pair": {"name": "tiny"}, "threshold": {"value": 0.4, "source": "calibration.json"}}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    for model in MODELS:
        (folder / model / "1").mkdir(parents=True)
        (folder / model / "config.pbtxt").touch()
    write(folder / "littlebig.json", PROVENANCE)
    write(folder / "calibration.json", {"chosen": {"threshold": 0.4}})
    return folder


def write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


def refusal(repository: Path, **options: object) -> str:
    with pytest.raises(ServerError) as refused:
        preflight(repository, require_calibration=True, least=0, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_complete_calibrated_repository_passes(repository: Path) -> None:
    line = preflight(repository, require_calibration=True, least=0)
    assert line.startswith(f"{repository}: threshold 0.4 from calibration.json; /dev/shm: ")


def test_the_command_fails_with_one_line_if_shared_memory_is_too_small(repository: Path) -> None:
    words = ["preflight", "--repository", str(repository), "--least-shared-memory"]
    assert CliRunner().invoke(littlebig, [*words, "0"]).exit_code == 0
    result = CliRunner().invoke(littlebig, [*words, str(1 << 40)])
    assert result.exit_code == 1
    assert result.output.startswith("littlebig: '/dev/shm' holds ")
    assert result.output.endswith(
        f" MiB, Triton's Python backend needs at least {1 << 40} MiB: raise shm.size of the chart, or --shm-size of "
        "docker run\n"
    )


def test_a_configuration_that_may_stall_passes_with_a_warning(repository: Path) -> None:
    policy = 'name: "big"\ndynamic_batching { default_queue_policy { max_queue_size: 8 } }\n'
    (repository / "big" / "config.pbtxt").write_text(policy)
    words = ["preflight", "--repository", str(repository), "--least-shared-memory", "0"]
    result = CliRunner().invoke(littlebig, words)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{repository}: threshold 0.4 from calibration.json; ")
    assert result.stderr.startswith(f"littlebig: warning: '{repository}/big/config.pbtxt' has a queue policy and ")


def test_missing_shared_memory_is_refused(repository: Path, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert refusal(repository, shared_memory=nowhere) == (
        f"'{nowhere}' cannot be used: No such file or directory; Triton's Python backend needs it"
    )


@pytest.mark.parametrize("model", MODELS)
def test_a_model_without_configuration_or_version_is_refused(repository: Path, model: str) -> None:
    (repository / model / "config.pbtxt").unlink()
    assert refusal(repository) == (
        f"'{repository}/{model}/config.pbtxt' is missing: the repository is incomplete, copy it again"
    )
    (repository / model / "config.pbtxt").touch()
    (repository / model / "1").rmdir()
    assert (
        refusal(repository)
        == f"'{repository}/{model}' has no version folder: the repository is incomplete, copy it again"
    )


def test_a_missing_model_is_refused(repository: Path) -> None:
    shutil.rmtree(repository / "big")
    assert refusal(repository) == (
        f"'{repository}/big/config.pbtxt' is missing: the repository is incomplete, copy it again"
    )


@pytest.mark.parametrize("content", [None, "not json", "[]", '{"pair": "tiny"}'])
def test_a_repository_without_readable_provenance_is_refused(repository: Path, content: str | None) -> None:
    provenance = repository / "littlebig.json"
    provenance.unlink() if content is None else provenance.write_text(content)
    with pytest.raises(IncompleteRepositoryError, match=r"littlebig\.json"):
        preflight(repository, least=0)


@pytest.mark.parametrize("content", ["not json", "[]", '{"threshold": 0.4}'])
def test_a_file_that_is_no_calibration_is_refused(repository: Path, content: str) -> None:
    evidence = repository / "calibration.json"
    evidence.write_text(content)
    assert refusal(repository) == f"'{evidence}' is not a calibration: the repository is incomplete, copy it again"


def test_an_uncalibrated_threshold_is_refused_where_a_calibration_is_required(repository: Path) -> None:
    write(repository / "littlebig.json", {**PROVENANCE, "threshold": {"value": 0.55, "source": "pair"}})
    assert refusal(repository) == (
        f"'{repository}' has no calibration, its threshold 0.55 is from 'pair': run 'littlebig calibrate ... --apply', "
        "or allow it with calibration.required=false of the chart"
    )
    assert "threshold 0.55 from pair" in preflight(repository, least=0)


def test_a_missing_calibration_file_is_refused(repository: Path) -> None:
    (repository / "calibration.json").unlink()
    assert refusal(repository).startswith(f"'{repository}' has no calibration, its threshold 0.4 is from ")


def test_a_calibration_of_another_threshold_is_refused(repository: Path) -> None:
    write(repository / "calibration.json", {"chosen": {"threshold": 0.3}})
    assert refusal(repository) == (
        f"'{repository}/calibration.json' chose the threshold 0.3, the repository has 0.4: apply it again with "
        "'littlebig apply'"
    )
