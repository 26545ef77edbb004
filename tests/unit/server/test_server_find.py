"""Which tritonserver is chosen, and which error reports that there is none."""

import shutil
from pathlib import Path

import pytest
from tests.unit.server.conftest import executable

from littlebig_server import InstallationError
from littlebig_server.installation import Installation, find_tritonserver


@pytest.mark.parametrize("removed", range(4), ids=["named", "on PATH", "container", "wheel"])
def test_installations_are_searched_in_order(wheel: Path, tmp_path: Path, removed: int) -> None:
    bundled = wheel / "tritonserver" / "bin" / "tritonserver"
    named = executable(tmp_path / "named" / "triton")
    on_path = executable(tmp_path / "bin" / "tritonserver")
    container = executable(tmp_path / "opt" / "tritonserver")
    candidates = [Installation(named), Installation(on_path), Installation(container), Installation(bundled, wheel)]
    for candidate in candidates[:removed]:
        candidate.binary.unlink()

    installation = find_tritonserver(named if removed == 0 else None, path=str(on_path.parent), container=container)

    assert installation == candidates[removed]


def test_the_wheels_binary_is_recognised_when_it_is_named(wheel: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(wheel / "tritonserver" / "bin" / "tritonserver")

    assert find_tritonserver(link) == Installation(link, wheel)


@pytest.mark.usefixtures("no_wheel")
def test_no_tritonserver_is_an_error_that_names_the_extra(nowhere: Path) -> None:
    with pytest.raises(InstallationError) as failure:
        find_tritonserver(path="", container=nowhere)
    assert str(failure.value) == (
        f"no tritonserver found (on PATH, at {nowhere}, in nvidia-pytriton): pip install 'littlebig[server]', "
        "or name one with --tritonserver"
    )


def test_a_wheel_without_its_binary_is_ignored(wheel: Path, nowhere: Path) -> None:
    shutil.rmtree(wheel / "tritonserver" / "bin")
    with pytest.raises(InstallationError, match=r"^no tritonserver found "):
        find_tritonserver(path="", container=nowhere)


def test_a_named_binary_must_exist(tmp_path: Path) -> None:
    missing = tmp_path / "triton"
    with pytest.raises(InstallationError) as failure:
        find_tritonserver(missing)
    assert str(failure.value) == f"tritonserver '{missing}' does not exist: give the path of the executable"


def test_a_named_binary_must_be_executable(tmp_path: Path) -> None:
    plain = tmp_path / "triton"
    plain.touch(mode=0o644)
    with pytest.raises(InstallationError) as failure:
        find_tritonserver(plain)
    assert str(failure.value) == f"tritonserver '{plain}' cannot be executed: chmod +x it, or give another path"
