"""Folders that cannot be served are refused before a server starts on them."""

from pathlib import Path

import pytest

from littlebig_server import IncompleteRepositoryError, TritonServer
from littlebig_server.repository import check_repository

REMEDY = "make one with 'littlebig export --output DIR'"


def refusal(repository: Path) -> str:
    with pytest.raises(IncompleteRepositoryError) as failure:
        check_repository(repository, "classify")
    return str(failure.value)


def test_a_repository_with_the_model_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "classify").mkdir()
    (tmp_path / "classify" / "config.pbtxt").touch()
    (tmp_path / "littlebig.json").touch()
    check_repository(tmp_path, "classify")


def test_a_model_without_a_configuration_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "classify" / "1").mkdir(parents=True)
    check_repository(tmp_path, "classify")


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    assert refusal(folder) == f"model repository '{folder}' does not exist: {REMEDY}"


def test_a_missing_folder_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(IncompleteRepositoryError, match="does not exist"), TritonServer(tmp_path / "models"):
        pass


def test_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "models"
    file.touch()
    assert refusal(file) == f"model repository '{file}' is not a folder: {REMEDY}"


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"model repository '{tmp_path}' has no models: {REMEDY}"


def test_a_folder_without_models_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "notes.txt").touch()
    assert refusal(tmp_path) == (
        f"'{tmp_path}' is not a model repository, no folder in it has a config.pbtxt or a version: {REMEDY}"
    )


def test_a_repository_without_the_model_is_refused(tmp_path: Path) -> None:
    for name in ("resnet", "bert"):
        (tmp_path / name / "1").mkdir(parents=True)
    assert refusal(tmp_path) == f"model repository '{tmp_path}' has no model 'classify', only bert, resnet: {REMEDY}"
