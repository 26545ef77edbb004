"""Which tritonserver is taken, and what is said when there is none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from littlebig_server import InstallationError
from littlebig_server.installation import Installation, find_tritonserver


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\nexit 0\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("removed", range(4), ids=["named", "on PATH", "container", "wheel"])
def test_places_are_searched_in_order(wheel: Path, tmp_path: Path, removed: int) -> None:
    carried = wheel / "tritonserver" / "bin" / "tritonserver"
    named = executable(tmp_path / "named" / "triton")
    on_path = executable(tmp_path / "bin" / "tritonserver")
    container = executable(tmp_path / "opt" / "tritonserver")
    places = [Installation(named), Installation(on_path), Installation(container), Installation(carried, wheel)]
    for place in places[:removed]:
        place.binary.unlink()

    found = find_tritonserver(named if removed == 0 else None, path=str(on_path.parent), container=container)

    assert found == places[removed]


def test_the_wheels_binary_is_known_as_such_also_when_it_is_named(wheel: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(wheel / "tritonserver" / "bin" / "tritonserver")

    assert find_tritonserver(link) == Installation(link, wheel)


@pytest.mark.usefixtures("no_wheel")
def test_none_at_all(nowhere: Path) -> None:
    with pytest.raises(InstallationError) as failure:
        find_tritonserver(path="", container=nowhere)
    assert str(failure.value) == (
        f"no tritonserver found (on PATH, at {nowhere}, in nvidia-pytriton): pip install 'littlebig[server]', "
        "or name one with --tritonserver"
    )


def test_a_wheel_without_its_binary_is_none(wheel: Path, nowhere: Path) -> None:
    shutil.rmtree(wheel / "tritonserver" / "bin")
    with pytest.raises(InstallationError, match=r"^no tritonserver found "):
        find_tritonserver(path="", container=nowhere)


def test_named_but_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "triton"
    with pytest.raises(InstallationError) as failure:
        find_tritonserver(missing)
    assert str(failure.value) == f"tritonserver '{missing}' does not exist: give the path of the executable"


def test_named_but_not_executable(tmp_path: Path) -> None:
    plain = tmp_path / "triton"
    plain.touch(mode=0o644)
    with pytest.raises(InstallationError) as failure:
        find_tritonserver(plain)
    assert str(failure.value) == f"tritonserver '{plain}' cannot be executed: chmod +x it, or give another path"
