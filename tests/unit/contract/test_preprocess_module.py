"""Loading the code of a repository's model `preprocess`."""

import sys

import pytest

from littlebig_contract.preprocess_module import NAME, load_preprocess_module


@pytest.fixture(autouse=True)
def restore_module():
    previous = sys.modules.get(NAME)
    yield
    sys.modules.pop(NAME, None)
    if previous is not None:
        sys.modules[NAME] = previous


def write_module(repository, text):
    folder = repository / "preprocess" / "1"
    folder.mkdir(parents=True)
    (folder / f"{NAME}.py").write_text(text)


def test_module_is_the_one_of_the_repository(tmp_path):
    for name in ("first", "second"):
        write_module(tmp_path / name, f"repository = {name!r}\n")
        assert load_preprocess_module(tmp_path / name).repository == name


def test_module_may_define_dataclasses(tmp_path):
    write_module(
        tmp_path,
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass Size:\n    height: int\n",
    )
    assert load_preprocess_module(tmp_path).Size(3).height == 3


def test_repository_without_preprocess_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^no preprocess/1/littlebig_preprocess\.py$"):
        load_preprocess_module(tmp_path)
