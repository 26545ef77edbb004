"""`littlebig sort`: every picture has its place, and nothing is overwritten or lost."""

import csv
import errno
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from fake_triton import NAMES, encoded_picture

from littlebig_cli.sort import command
from littlebig_cli.sorting.names import folder_names, safe_name


@pytest.fixture
def sort(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words: object):
        return CliRunner().invoke(command, [*(str(word) for word in words), "--url", server.url])

    return run


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    (folder / "a.png").write_bytes(encoded_picture(1))
    (folder / "b.png").write_bytes(encoded_picture(3, 0.4))
    (folder / "more" / "a.png").write_bytes(encoded_picture(1, 0.8))
    (folder / "more" / "broken.jpg").write_bytes(b"junk")
    return folder


def placed(folder: Path) -> dict[str, bytes]:
    """Path below the folder -> content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.*")) if path.is_file()
    }


def pictures(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in placed(folder).items() if name != "answers.csv"}


def test_pictures_are_copied_into_folders_by_answer(sort, photos, tmp_path):
    result = sort("photos", "--output", "sorted", "--below", 0.5)
    assert (result.exit_code, result.stdout) == (0, "sorted: 2 sorted, 1 below, 1 failed\n")
    found = pictures(tmp_path / "sorted")
    (other,) = (name for name in found if name.startswith("goldfish/a-"))
    assert found == {
        "goldfish/a.png": (photos / "a.png").read_bytes(),
        other: (photos / "more" / "a.png").read_bytes(),
        "_below 0.5/b.png": (photos / "b.png").read_bytes(),
        "_failed/broken.jpg": b"junk",
    }
    with (tmp_path / "sorted" / "answers.csv").open() as table:
        assert [row["file"] for row in csv.DictReader(table)] == [f"photos/{name}" for name in ("a.png", "b.png", "more/a.png", "more/broken.jpg")]  # fmt: skip


def test_same_command_changes_nothing_and_asks_nothing(sort, server, photos, tmp_path):
    sort("photos", "--output", "sorted")
    before = placed(tmp_path / "sorted")
    result = sort("photos", "--output", "sorted")
    assert result.stdout == "sorted: 4 there before\n"
    assert placed(tmp_path / "sorted") == before
    assert len(server.seen) == 4


def test_output_inside_the_sorted_folder_is_not_sorted_again(sort, server, photos, tmp_path):
    for _ in range(2):
        sort(".", "--output", "sorted")
    assert len(server.seen) == 4
    assert len(pictures(tmp_path / "sorted")) == 4


def test_file_that_was_there_is_kept(sort, photos, tmp_path):
    (tmp_path / "sorted" / "goldfish").mkdir(parents=True)
    (tmp_path / "sorted" / "goldfish" / "a.png").write_bytes(b"mine")
    sort("photos", "--output", "sorted")
    found = pictures(tmp_path / "sorted")
    assert found["goldfish/a.png"] == b"mine"
    assert set(found.values()) == {b"mine", *(path.read_bytes() for path in photos.rglob("*.*"))}


def test_pictures_of_equal_size_and_time_are_both_kept(sort, photos, tmp_path):
    for path, colour in ((photos / "a.bmp", 1), (photos / "more" / "a.bmp", 2)):
        path.write_bytes(encoded_picture(colour, kind="BMP"))
        os.utime(path, (0, 0))
    sort("photos", "--output", "sorted", "--policy", "little", "--below", 1)
    assert sum(name.endswith(".bmp") for name in pictures(tmp_path / "sorted")) == 2


@pytest.mark.parametrize("way", ["symlink", "hardlink"])
def test_pictures_can_be_linked(sort, photos, tmp_path, way):
    for _ in range(2):
        result = sort("photos", "--output", "sorted", "--as", way)
        assert result.exit_code == 0, result.output
    target = tmp_path / "sorted" / "goldfish" / "a.png"
    assert target.samefile(photos / "a.png")
    assert target.is_symlink() == (way == "symlink")
    assert len(pictures(tmp_path / "sorted")) == 4


def test_dry_run_says_where_pictures_would_go_and_writes_nothing(sort, photos, tmp_path):
    result = sort("photos", "--output", "sorted", "--dry-run")
    assert not (tmp_path / "sorted").exists()
    *lines, last = result.stdout.splitlines()
    assert last == "sorted: 3 sorted, 1 failed (dry run: nothing was written)"
    sort("photos", "--output", "sorted")
    assert sorted(line.split(" -> ")[1].removeprefix("sorted/") for line in lines) == sorted(
        pictures(tmp_path / "sorted")
    )


def test_table_is_sorted_by_without_a_server(sort, server, photos, tmp_path):
    sort("photos", "--output", "first")
    server.stop()
    result = sort("--answers", "first/answers.csv", "--output", "second", "--below", 0.5)
    assert result.stdout == "second: 2 sorted, 1 below, 1 failed\n"


def test_missing_picture_is_one_line_and_the_others_continue(sort, photos):
    result = sort("photos", "gone.png", "--output", "sorted")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (0, "littlebig: gone.png: no such file")
    assert result.stdout == "sorted: 3 sorted, 1 failed, 1 not found\n"


def test_full_disk_leaves_no_partial_picture_and_the_same_command_continues(sort, photos, tmp_path, monkeypatch):
    def full(source, target, **_):
        Path(target).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy2", full)
        result = sort("photos", "--output", "sorted")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "littlebig: photos/a.png cannot be put to sorted/goldfish/a.png: No space left on device; nothing is lost: "
        "mend that and give the same command again"
    )
    assert pictures(tmp_path / "sorted") == {}
    assert sort("photos", "--output", "sorted").stdout == "sorted: 3 sorted, 1 failed\n"


def test_interruption_is_one_line(sort, photos, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copy2", interrupt)
    result = sort("photos", "--output", "sorted")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "littlebig: stopped: no picture is lost, the same command continues"


def test_file_system_without_hard_links_gets_copies(sort, photos, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    sort("photos", "--output", "sorted")
    assert len(pictures(tmp_path / "sorted")) == 4
    assert not list((tmp_path / "sorted").rglob(".littlebig*"))


def test_pictures_elsewhere_are_refused(sort):
    result = sort("s3://bucket/a.png", "--output", "sorted")
    assert result.exit_code == 1
    assert "only files of this machine can be sorted" in result.stderr


def test_pictures_or_a_table_are_needed(sort):
    assert "Give either IMAGE... or --answers." in sort("--output", "sorted").stderr


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("tabby, tabby cat", "tabby, tabby cat"),
        ("file: a tool", "file a tool"),
        ("../../etc/passwd", "etc passwd"),
        (".hidden", "hidden"),
        ("_failed", "failed"),
        ("a\x1b[2J\nb", "a [2J b"),
        ("ends with. ", "ends with"),
        ("CON", "CON class"),
        ("com1.txt", "com1.txt class"),
        ("é" * 90, "é" * 50),
        ("...", ""),
        ("", ""),
    ],
)
def test_labels_become_safe_folder_names(name, safe):
    assert safe_name(name) == safe


def test_labels_with_the_same_name_get_their_numbers():
    assert folder_names({134: "crane", 517: "Crane", 5: "ray", 6: "?"}) == {
        134: "crane (134)",
        517: "Crane (517)",
        5: "ray",
        6: "class 6",
    }


def test_folders_of_odd_labels_are_inside_the_output(sort, server, photos, tmp_path):
    server.names = tuple(f"../{name}/.." for name in NAMES)
    sort("photos", "--output", "sorted")
    assert {path.name for path in tmp_path.iterdir()} == {"photos", "sorted"}
    assert (tmp_path / "sorted" / "goldfish" / "a.png").exists()
