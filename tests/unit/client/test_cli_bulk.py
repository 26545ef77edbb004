"""`littlebig classify --output`: every picture is asked for once, whatever happens in between."""

import csv
import http.server
import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import grpc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from fake_triton import NAMES, encoded_picture
from terminals import read_terminal, start_classify

from littlebig_cli.classify import command

SUFFIXES = (".parquet", ".csv", ".jsonl")


@pytest.fixture
def ask(server):
    def run(*words: object, **settings: object):
        return CliRunner().invoke(command, [*(str(word) for word in words), "--url", server.url], **settings)

    return run


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for number in range(8):
        (folder / f"{number}.png").write_bytes(encoded_picture(number))
    (folder / "more" / "9.png").write_bytes(encoded_picture(9, 0.3))
    (folder / "readme.txt").write_text("not an image")
    return folder


def rows(path: Path) -> list[dict]:
    """The table's rows, with the columns that all formats have."""
    if path.suffix == ".parquet":
        return [
            {key: value for key, value in row.items() if value is not None} for row in pq.read_table(path).to_pylist()
        ]
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]
    return [json.loads(line) for line in path.read_text().splitlines()]


def files(path: Path) -> list[str]:
    return [row["file"] for row in rows(path)]


def started(*words: object, **settings: object) -> subprocess.Popen:
    return start_classify(*words, stderr=subprocess.PIPE, text=True, **settings)


def shard(path: Path, *labels: int, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for label in labels:
            for name, data in ((f"{label:04}.cls", b"7"), (f"{label:04}.png", encoded_picture(label))):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_table_has_a_row_per_picture_and_failures_among_them(ask, photos, tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    output = tmp_path / f"out/answers{suffix}"
    result = ask("photos", "missing.png", "--output", output, "--top-k", 2)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"{output}: 10 pictures: 8 little, 1 big, 1 failed\nasked for 10 in ")
    found = rows(output)
    assert [row["file"] for row in found] == [
        *(f"photos/{number}.png" for number in range(8)),
        "photos/more/9.png",
        "missing.png",
    ]
    assert found[9] == {"file": "missing.png", "error": "no such file"}
    assert (str(found[1]["label"]), found[1]["name"], found[1]["stage"]) == ("1", NAMES[1], "little")
    assert float(found[1]["confidence"]) == pytest.approx(0.902, abs=1e-3)
    assert [path.name for path in output.parent.iterdir()] == [output.name]


def test_parquet_has_typed_columns_and_the_options(ask, photos, tmp_path):
    ask(photos, "--output", tmp_path / "a.parquet", "--top-k", 2, "--policy", "big")
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert {field.name: str(field.type) for field in schema} == {
        "file": "string",
        "label": "int32",
        "name": "string",
        "confidence": "float",
        "stage": "string",
        "error": "string",
        "top_k": "list<element: struct<label: int32, name: string, probability: float>>",
    }
    assert json.loads(schema.metadata[b"littlebig"]) == {"top_k": 2, "threshold": None, "policy": "big", "within": None}


def test_csv_is_that_of_the_option_csv(ask, photos, tmp_path):
    ask(photos, "--output", tmp_path / "a.csv", "--top-k", 3)
    assert (tmp_path / "a.csv").read_text() == ask(photos, "--csv", "--top-k", 3).stdout


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_same_command_asks_only_for_what_the_table_lacks(ask, server, photos, tmp_path, suffix):
    output = tmp_path / f"a{suffix}"
    ask(photos, tmp_path / "missing.png", "--output", output)
    again = ask(photos, tmp_path / "missing.png", "--output", output)
    assert again.stdout == f"{output}: 10 pictures: 8 little, 1 big, 1 failed\nnothing to ask\n"
    before = rows(output)
    (photos / "5b.png").write_bytes(encoded_picture(5))
    ask(photos, "--output", output)
    assert len(server.seen) == 10
    assert rows(output)[:10] == before
    assert files(output)[10] == str(photos / "5b.png")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_failed_pictures_are_asked_again_on_request_only(ask, server, photos, tmp_path, suffix):
    output = tmp_path / f"a{suffix}"
    server.fail_with, server.fail_times = (grpc.StatusCode.INTERNAL, "out of luck"), 3
    first = ask(photos, tmp_path / "late.png", "--output", output, "--concurrency", 1)
    assert "3 failed" not in first.stdout
    assert "4 failed" in first.stdout
    assert rows(output)[0]["error"] == "the server failed (INTERNAL): out of luck"
    (tmp_path / "late.png").write_bytes(encoded_picture(2))
    assert "nothing to ask" in ask(photos, tmp_path / "late.png", "--output", output).stdout
    again = ask(photos, tmp_path / "late.png", "--output", output, "--retry-failed")
    assert "10 pictures: 9 little, 1 big" in again.stdout
    assert "asked for 4 in" in again.stdout
    assert len(files(output)) == len(set(files(output))) == 10


def test_picture_that_fails_again_keeps_one_row(ask, photos, tmp_path):
    for _ in range(3):
        ask(photos, tmp_path / "missing.png", "--output", tmp_path / "a.csv", "--retry-failed")
    assert files(tmp_path / "a.csv").count(str(tmp_path / "missing.png")) == 1


def test_list_may_name_pictures_folders_patterns_shards_and_what_is_missing(ask, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shard(tmp_path / "s.tar", 3, 4)
    (tmp_path / "odd[1].png").write_bytes(encoded_picture(1))
    lines = ["photos/more", "", "photos/[12].png", "photos/1.png", "odd[1].png", "nothing/*.png", "s.tar", "gone.tar", "s.tar::0003.png", "s.tar::0099.png"]  # fmt: skip
    Path("list.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    ask("--from-file", "list.txt", "--output", "a.jsonl")
    found = rows(Path("a.jsonl"))
    assert [row["file"] for row in found] == [
        "photos/more/9.png", "photos/1.png", "photos/2.png", "odd[1].png", "nothing/*.png", "s.tar::0003.png", "s.tar::0004.png", "gone.tar", "s.tar::0099.png",
    ]  # fmt: skip
    assert {row["file"]: row["error"] for row in found if "error" in row} == {
        "nothing/*.png": "no such file",
        "gone.tar": "no such file",
        "s.tar::0099.png": "no such member in s.tar",
    }


def test_list_is_read_from_stdin(ask, photos, tmp_path):
    result = ask("--from-file", "-", "--output", tmp_path / "a.csv", input=f"{photos}/1.png\n{photos}/2.png")
    assert result.exit_code == 0, result.output
    assert files(tmp_path / "a.csv") == [f"{photos}/1.png", f"{photos}/2.png"]


def test_list_in_utf_16_is_refused_in_one_line(ask, tmp_path):
    (tmp_path / "list.txt").write_text("a.png\n", encoding="utf-16")
    result = ask("--from-file", tmp_path / "list.txt", "--output", tmp_path / "a.csv")
    assert result.exit_code == 1
    assert (
        result.stderr
        == f"littlebig: {tmp_path}/list.txt is a text in UTF-16: save it as UTF-8, with one picture a line\n"
    )


def test_single_members_of_a_shard_can_be_listed(ask, tmp_path):
    path = shard(tmp_path / "s.tar.gz", 1, 2, 3, mode="w:gz")
    ask(f"{path}::0003.png", f"{path}::0001.png", "--output", tmp_path / "a.jsonl")
    assert [(row["file"][-8:], row["label"]) for row in rows(tmp_path / "a.jsonl")] == [
        ("0003.png", 3),
        ("0001.png", 1),
    ]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_shard_that_breaks_off_gives_its_first_pictures_and_an_error(ask, tmp_path, mode):
    whole = shard(tmp_path / "whole.tar.gz", *range(9), mode=mode).read_bytes()
    path = tmp_path / "s.tar.gz"
    path.write_bytes(whole[: len(whole) * 2 // 3 + 100])
    ask(path, "--output", tmp_path / "a.jsonl")
    *good, broken = rows(tmp_path / "a.jsonl")
    assert broken["file"] == str(path)
    assert broken["error"].startswith("is not a complete tar file: ")
    assert all("error" not in row for row in good[:-1])  # the last one may be cut off
    assert mode != "w" or len(good) > 3


def test_names_that_are_no_utf_8_stay_different(ask, server, tmp_path):
    for byte in (b"\xfe", b"\xff"):
        (tmp_path / os.fsdecode(byte + b".png")).write_bytes(encoded_picture(1))
    for _ in range(2):
        ask(tmp_path, "--output", tmp_path / "a.csv")
    assert [name[-8:] for name in files(tmp_path / "a.csv")] == [r"\xfe.png", r"\xff.png"]
    assert len(server.seen) == 2


def test_empty_folder_is_an_error_in_the_table(ask, tmp_path):
    (tmp_path / "empty").mkdir()
    ask(tmp_path / "empty", "--output", tmp_path / "a.jsonl")
    (row,) = rows(tmp_path / "a.jsonl")
    assert row["error"] == "no image files (.bmp, .gif, .jpeg, .jpg, .png, .webp) in this folder"


def test_urls_of_stores_are_pictures_folders_patterns_and_shards(ask, photos, tmp_path):
    shard(tmp_path / "s.tar", 3, 4)
    base = f"file://{tmp_path}"
    urls = [f"{base}/photos/more/", f"{base}/photos/[01].png", f"{base}/photos/1.png", f"{base}/s.tar", f"{base}/gone.png", f"{base}/gone/", f"{base}/s.tar::0004.png"]  # fmt: skip
    result = ask(*urls, "--output", tmp_path / "a.jsonl")
    assert result.exit_code == 0, result.output
    found = {row["file"].removeprefix(base): row.get("label", row.get("error")) for row in rows(tmp_path / "a.jsonl")}
    assert found.pop("/gone/").startswith("cannot be listed: ")
    assert found == {
        "/photos/more/9.png": 9,
        "/photos/0.png": 0,
        "/photos/1.png": 1,
        "/s.tar::0003.png": 3,
        "/s.tar::0004.png": 4,
        "/gone.png": "no such file",
    }


def test_pictures_of_a_web_server_are_fetched(ask, photos, tmp_path):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *words):
            super().__init__(*words, directory=str(photos))

        def log_message(self, *words):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as web:
        threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True).start()
        base = f"http://127.0.0.1:{web.server_port}"
        result = ask(f"{base}/3.png?size=full", f"{base}/gone.png", "--output", tmp_path / "a.jsonl")
        web.shutdown()
    assert result.exit_code == 0, result.output
    good, missing = rows(tmp_path / "a.jsonl")
    assert (good["file"], good["label"]) == (f"{base}/3.png?size=full", 3)
    assert missing["error"] == "no such file"


def test_unknown_protocol_is_reported_in_one_line(ask, tmp_path):
    result = ask("nosuch://bucket/a.png", "--output", tmp_path / "a.csv")
    assert result.exit_code == 1
    assert result.stderr.startswith("littlebig: nosuch://bucket/a.png: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_keeps_every_answer_and_the_same_command_continues(ask, server, photos, tmp_path, number):
    for copy in range(70):
        (photos / f"{copy:03}.jpg").write_bytes(encoded_picture(copy % 10, kind="JPEG"))
    words = (photos, "--output", tmp_path / "a.parquet", "--url", server.url)
    process = started(*words)
    server.wait_for_requests(20)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert (
        errors == f"littlebig: stopped: {tmp_path}/a.parquet.journal keeps every answer, the same command continues\n"
    )
    kept = len((tmp_path / "a.parquet.journal").read_text().splitlines()) - 1
    assert kept == len(server.seen) < 79
    output = ask(*words).stdout
    assert f"asked for {79 - kept} in" in output
    assert len(server.seen) == 79
    assert sorted(files(tmp_path / "a.parquet")) == sorted(str(path) for path in photos.rglob("*.*g"))


def test_signal_ends_the_wait_for_a_list_that_does_not_end(server, photos, tmp_path):
    process = started("--from-file", "-", "--output", tmp_path / "a.csv", "--url", server.url, stdin=subprocess.PIPE)
    process.stdin.write(f"{photos}/1.png\n")
    process.stdin.flush()
    server.wait_for_requests(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert len((tmp_path / "a.csv.journal").read_text().splitlines()) == 2
    process.communicate()


def test_second_signal_does_not_wait_for_answers(server, photos, tmp_path):
    server.hold = threading.Event()
    process = started(photos, "--output", tmp_path / "a.csv", "--url", server.url, "--timeout", 600)
    server.wait_for_requests(2)
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            continue
    process.communicate()
    # On a busy machine a third signal may meet an interpreter that is ending and handles none.
    assert process.returncode in {130, -signal.SIGINT}


def test_killed_run_repeats_only_what_was_in_flight(ask, server, photos, tmp_path):
    for copy in range(70):
        (photos / f"{copy:03}.jpg").write_bytes(encoded_picture(copy % 10, kind="JPEG"))
    words = (photos, "--output", tmp_path / "a.csv", "--url", server.url, "--concurrency", 4)
    process = started(*words)
    server.wait_for_requests(30)
    process.kill()
    process.communicate(timeout=60)
    assert not (tmp_path / "a.csv").exists()
    ask(*words)
    assert sorted(files(tmp_path / "a.csv")) == sorted(str(path) for path in photos.rglob("*.*g"))
    assert len(server.seen) <= 79 + 2 * 4


def test_line_that_was_cut_off_is_asked_again(ask, server, photos, tmp_path):
    ask(photos, "--output", tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").rename(tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    options = b'{"options": {"top_k": 5, "threshold": null, "policy": null, "within": null}}\n'
    (tmp_path / "a.jsonl.journal").write_bytes(options + whole[:-20])
    ask(photos, "--output", tmp_path / "a.jsonl")
    assert len(server.seen) == 10
    assert (tmp_path / "a.jsonl").read_bytes() == whole


def test_full_disk_keeps_the_answers_before_it(ask, server, photos, tmp_path):
    for copy in range(60):
        (photos / f"{copy:03}.jpg").write_bytes(encoded_picture(copy % 10, kind="JPEG"))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))

    words = (photos, "--output", tmp_path / "a.csv", "--url", server.url, "--concurrency", 1)
    process = started(*words, preexec_fn=limit)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors == (
        f"littlebig: {tmp_path}/a.csv.journal cannot be written: File too large; all answers before are kept: "
        "mend that and give the same command again\n"
    )
    lines = (tmp_path / "a.csv.journal").read_bytes().splitlines()
    assert all(json.loads(line) for line in lines)
    asked = len(server.seen)
    ask(*words)
    assert len(files(tmp_path / "a.csv")) == 69
    assert len(server.seen) == 69 + asked - (len(lines) - 1) <= 69 + 2


def test_table_that_cannot_be_written_leaves_the_journal(ask, server, photos, tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        result = ask(photos, "--output", tmp_path / "a.parquet")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"littlebig: {tmp_path}/a.parquet cannot be written: No space left on device; all answers are kept: "
        "mend that and give the same command again\n"
    )
    assert [path.name for path in tmp_path.glob("*a.parquet*")] == ["a.parquet.journal"]
    assert ask(photos, "--output", tmp_path / "a.parquet").exit_code == 0
    assert len(server.seen) == 9


def test_server_that_goes_away_stops_the_run_and_costs_no_row(ask, server, photos, tmp_path):
    words = (photos, "--output", tmp_path / "a.csv", "--url", server.url, "--concurrency", 2, "--retry-for", 0)
    server.hold_label_until_seen = (5, 6)
    stopping = threading.Thread(target=lambda: (server.wait_for_requests(5), server.stop()))
    stopping.start()
    process = started(*words)
    _, errors = process.communicate(timeout=60)
    stopping.join()
    assert process.returncode == 1
    assert errors.startswith(f"littlebig: the server at {server.url} is gone")
    assert errors.endswith("the same command continues\n")
    assert errors.count("\n") == 1
    server.start()
    server.hold_label_until_seen = None
    ask(*words)
    found = rows(tmp_path / "a.csv")
    assert len(found) == 9
    assert not any("error" in row for row in found)


def test_without_a_server_nothing_is_left_behind(ask, server, photos, tmp_path):
    server.stop()
    result = ask(photos, "--output", tmp_path / "out/a.csv")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"littlebig: no Triton server answers gRPC at {server.url}")
    assert list((tmp_path / "out").iterdir()) == []


def test_server_that_fails_at_everything_stops_the_run(ask, server, tmp_path):
    (tmp_path / "a.png").write_bytes(encoded_picture(1))
    (tmp_path / "list").write_text("".join(f"{tmp_path}/./{'./' * number}a.png\n" for number in range(300)))
    server.fail_with = (grpc.StatusCode.INTERNAL, "no memory")
    result = ask("--from-file", tmp_path / "list", "--output", tmp_path / "a.csv")
    assert result.exit_code == 1
    assert "the same command with --retry-failed continues" in result.stderr
    server.fail_with = None
    result = ask("--from-file", tmp_path / "list", "--output", tmp_path / "a.csv", "--retry-failed")
    assert "300 pictures: 300 little" in result.stdout


def test_other_options_than_those_of_the_table_are_refused(ask, photos, tmp_path):
    ask(photos, "--output", tmp_path / "a.parquet", "--policy", "little")
    result = ask(photos, "--output", tmp_path / "a.parquet")
    assert result.exit_code == 1
    assert result.stderr == (
        f"littlebig: the answers in {tmp_path}/a.parquet were asked with top_k 5, threshold as served, policy little, "
        f"within as served: give the same options, or another --output than {tmp_path}/a.parquet\n"
    )


def test_two_processes_do_not_write_one_output(server, ask, photos, tmp_path):
    server.hold = threading.Event()
    process = started(photos, "--output", tmp_path / "a.csv", "--url", server.url, stdout=subprocess.DEVNULL)
    server.wait_for_requests(1)
    result = ask(photos, "--output", tmp_path / "a.csv")
    server.hold.set()
    assert (
        result.stderr
        == f"littlebig: another process is writing {tmp_path}/a.csv: wait for it, or give another --output\n"
    )
    assert process.wait(60) == 0
    process.communicate()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_foreign_file_is_not_overwritten(ask, photos, tmp_path, suffix):
    output = tmp_path / f"a{suffix}"
    output.write_text("my,diary\n1,2\n")
    result = ask(photos, "--output", output)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"littlebig: {output} is not a table of answers (")
    assert output.read_text() == "my,diary\n1,2\n"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["a.png", "--output", "a.xlsx"], 1, "a.xlsx: the suffix must be one of .parquet, .csv, .jsonl"),
        (["a.png", "--output", "a.csv", "--json"], 2, "the suffix of --output decides on the format"),
        (["--from-file", "-"], 2, "--from-file and --retry-failed need --output"),
        (["s3://bucket/a.png"], 2, "URLs and shards need --output"),
        (["--output", "a.csv"], 2, "Missing argument 'IMAGE...'"),
    ],
)
def test_wrong_use_is_explained(ask, words, code, message):
    result = ask(*words)
    assert result.exit_code == code
    assert message in result.stderr


def test_missing_pyarrow_is_one_line_with_the_pip_command(photos, tmp_path):
    script = "import sys; sys.modules['pyarrow'] = None\nfrom littlebig_cli.main import main; main()"
    words = [sys.executable, "-c", script, "classify", str(photos), "--output", "a.parquet"]
    process = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert process.returncode == 1
    assert process.stderr == (
        "littlebig: '--output a.parquet' needs pyarrow, which is not installed: pip install 'littlebig[batch]'\n"
    )


def test_bar_on_a_terminal_shows_rate_share_escalated_and_number(server, photos, tmp_path):
    for copy in range(300):
        (photos / f"{copy:03}.bmp").write_bytes(encoded_picture(copy % 10, 0.3, kind="BMP"))
    terminal, its_end = os.openpty()
    words = [photos, "--output", tmp_path / "a.csv", "--url", server.url]
    process = start_classify(*words, stdout=subprocess.PIPE, stderr=its_end)
    os.close(its_end)
    output, _ = process.communicate(timeout=120)
    seen = read_terminal(terminal)
    assert b"309 pictures: 301 big, 8 little" in output
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())
    assert re.search(r"\d+/309 \d+/s  \d+% escalated", text)


@pytest.mark.slow  # thousands of pictures
def test_memory_does_not_grow_with_the_list(server, tmp_path):
    code = (
        "import resource, sys\nfrom littlebig_cli.main import main\n"
        "try: main()\nexcept SystemExit: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for pictures in (100, 8_000):
        listed = "".join(f"{'missing' * 20}/{number}.png\n" for number in range(pictures))
        words = ["classify", "--from-file", "-", "--output", str(tmp_path / f"{pictures}.csv"), "--url", server.url]
        process = subprocess.run(
            [sys.executable, "-c", code, *words], input=listed, capture_output=True, text=True, check=True
        )
        peaks.append(int(process.stdout.splitlines()[-1]))
    # Names alone are 1.2 MB, with their objects and rows some 10.
    assert peaks[1] - peaks[0] < 4_000
