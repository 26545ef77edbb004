"""`littlebig classify`: output, errors and exit codes."""

import csv
import fcntl
import json
import os
import re
import signal
import socket
import struct
import subprocess
import termios
import threading

import grpc
import pytest
from click.testing import CliRunner
from fake_triton import NAMES, encoded_picture
from terminals import read_terminal, start_classify

from littlebig_cli.classify import command
from littlebig_cli.main import littlebig


@pytest.fixture
def ask(server, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def run(*words: object):
        return CliRunner().invoke(command, [str(word) for word in words] + ["--url", server.url])

    return run


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    (folder / "b.png").write_bytes(encoded_picture(1))
    (folder / "a.JPG").write_bytes(encoded_picture(3, 0.31))
    (folder / "more" / "c.webp").write_bytes(encoded_picture(2, 0.31, big_fails=True))
    (folder / "readme.txt").write_text("not an image")
    return folder


def test_one_image_prints_a_table_with_candidates(ask, photos, monkeypatch):
    monkeypatch.chdir(photos)
    result = ask("b.png", "--top-k", 2)
    assert result.exit_code == 0
    assert [line.rstrip() for line in result.stdout.splitlines()] == [
        "file   answer    confidence  stage",
        "b.png  goldfish       0.902  little",
        "",
        "probability  label  candidate",
        "      0.902      1  goldfish",
        "      0.011      0  tench",
    ]
    assert result.stderr == ""


def test_folder_stands_for_its_image_files_sorted(ask, photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    result = ask("photos")
    assert result.exit_code == 0
    assert [line.rstrip() for line in result.stdout.splitlines()] == [
        "file                answer                  confidence  stage",
        "photos/a.JPG        file: a tool                 0.310  big",
        "photos/b.png        goldfish                     0.902  little",
        "photos/more/c.webp  white shark, man-eater       0.310  little (big failed)",
        "",
        "3 images: 1 big, 1 little, 1 little (big failed)",
    ]


def test_piped_table_keeps_each_row_on_one_line(ask, tmp_path):
    file = tmp_path / ("a-very-long-file-name" * 6 + ".png")
    file.write_bytes(encoded_picture(9))
    header, row, *_ = ask(file).stdout.splitlines()
    assert row.split()[0] == str(file)
    assert row.endswith(f"{NAMES[9]}       0.902  little")
    assert header == header.rstrip()


def test_long_names_wrap_within_the_width_of_a_terminal(server, tmp_path):
    file = tmp_path / ("a-very-long-file-name" * 6 + ".png")
    file.write_bytes(encoded_picture(9))
    terminal, its_end = os.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    process = start_classify(file, "--url", server.url, stdout=its_end, stderr=its_end, env=environment)
    os.close(its_end)
    printed = re.sub(r"\x1b\[[0-9;]*m", "", read_terminal(terminal).decode())
    assert process.wait(60) == 0
    lines = [line.rstrip() for line in printed.splitlines()]
    assert max(len(line) for line in lines) <= 80
    assert any(line.endswith("0.902  little") for line in lines)
    assert any("a-very-long-file-name" in line for line in lines)


def test_names_are_printed_verbatim_not_as_markup(ask, tmp_path):
    file = tmp_path / "[red].png"
    file.write_bytes(encoded_picture(7))
    assert "[bold]ostrich[/bold]" in ask(file).stdout
    file.write_bytes(b"junk")
    assert "[red].png: input 'encoded_image'" in ask(file).stderr


def test_control_characters_of_names_are_escaped_in_tables_and_errors_but_not_in_json(
    ask, server, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a\x1b[2J\nb.png").write_bytes(encoded_picture(1))
    server.names = ("", "gold\x1b[31mfish", *[""] * 8)
    result = ask("a\x1b[2J\nb.png", "missing\x1b.png", "a\x1b[2J\nb.png")
    assert r"a\x1b[2J\nb.png  gold\x1b[31mfish" in result.stdout
    assert r"littlebig: missing\x1b.png: no such file" in result.stderr
    assert "\x1b" not in result.output
    assert json.loads(ask("a\x1b[2J\nb.png", "--json").stdout)[0]["file"] == "a\x1b[2J\nb.png"


@pytest.mark.parametrize("score", ["confidence", "margin"])
def test_table_says_which_score_the_threshold_is_compared_with(ask, server, photos, score):
    server.score = score
    assert ask(photos, "--threshold", 0.5).stdout.splitlines()[-1] == f"escalated below a {score} of 0.5"
    assert score not in ask(photos).stdout.splitlines()[-1]


def test_server_that_hides_its_configuration_is_asked_for_answers_only(ask, server, photos):
    server.score = None
    result = ask(photos, "--threshold", 0.5)
    assert (result.exit_code, result.stderr) == (0, "")


def test_failed_image_is_one_line_on_stderr_and_the_others_continue(ask, photos, monkeypatch):
    monkeypatch.chdir(photos)
    result = ask("readme.txt", "b.png", "missing.png")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "littlebig: readme.txt: input 'encoded_image': not an image that can be decoded",
        "littlebig: missing.png: no such file",
    ]
    assert [line.rstrip() for line in result.stdout.splitlines()] == [
        "file   answer    confidence  stage",
        "b.png  goldfish       0.902  little",
        "",
        "3 images: 2 failed, 1 little",
    ]


def test_no_table_is_printed_without_answers(ask, tmp_path):
    result = ask(tmp_path / "missing.png")
    assert (result.exit_code, result.stdout) == (1, "")


def test_json_contains_answers_candidates_and_errors(ask, photos, monkeypatch):
    monkeypatch.chdir(photos)
    result = ask("b.png", "missing.png", "more/c.webp", "--json", "--top-k", 1)
    assert result.exit_code == 1
    assert result.stderr == "littlebig: missing.png: no such file\n"
    good, failed, degraded = json.loads(result.stdout)
    assert good == {
        "file": "b.png",
        "label": 1,
        "name": "goldfish",
        "confidence": pytest.approx(0.902, abs=1e-3),
        "stage": "little",
        "top_k": [{"label": 1, "name": "goldfish", "probability": 0.901961}],
    }
    assert failed == {"file": "missing.png", "error": "no such file"}
    assert degraded["stage"] == "little (big failed)"


def test_csv_has_one_row_per_image(ask, photos, monkeypatch):
    monkeypatch.chdir(photos)
    result = ask("more/c.webp", "missing.png", "--csv", "--top-k", 12)
    assert result.exit_code == 1
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert [row["file"] for row in rows] == ["more/c.webp", "missing.png"]
    assert (rows[0]["label"], rows[0]["name"], rows[0]["stage"]) == (
        "2",
        "white shark, man-eater",
        "little (big failed)",
    )
    assert (rows[0]["name_1"], rows[0]["probability_1"]) == ("white shark, man-eater", "0.309804")
    assert (rows[0]["name_10"] != "", rows[0]["name_11"], rows[0]["error"]) == (True, "", "")
    assert (rows[1]["error"], rows[1]["label"], rows[1]["name_1"]) == ("no such file", "", "")


def test_options_reach_the_server(ask, server, photos):
    ask(photos / "b.png", "--threshold", 0.5, "--policy", "big", "--top-k", 3, "--within", 0.5)
    assert server.seen[-1].parameters == {"threshold": 0.5, "policy": "big", "timeout": 500_000}
    assert server.seen[-1].outputs["probabilities"] == 3


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_missing_server_is_reported_once_for_many_images(ask, server, photos, form):
    server.stop()
    result = ask(*[photos / "b.png"] * 20, *form)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"littlebig: no Triton server answers gRPC at {server.url}: nothing listens there: "
        "is it running (littlebig serve), and is this its gRPC port?\n"
    )


def test_server_without_the_models_is_reported_once(ask, server, photos):
    server.fail_with = (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'classify' is not found")
    result = ask(*[photos / "b.png"] * 20)
    assert result.exit_code == 1
    assert result.stderr == (
        f"littlebig: the Triton server at {server.url} does not serve a Little-Big repository: "
        "Request for unknown model: 'classify' is not found\n"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--threshold", "7"], "threshold must be a number from 0 to 1, not 7.0"),
        (["--top-k", "0"], "top_k must be a whole number of at least 1, not 0"),
        (["--concurrency", "0"], "concurrency must be a whole number of at least 1, not 0"),
        (["--within", "0"], "within must be a finite number of seconds above 0, not 0.0"),
        (["--timeout", "0"], "timeout must be a finite number of seconds above 0, not 0.0"),
    ],
)
def test_invalid_option_is_reported_in_one_line(ask, photos, words, message):
    result = ask(photos, *words)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"littlebig: {message}\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.png", "--threshold", "nan"], "nan is not a finite number"),
        (["a.png", "--policy", "both"], "'both' is not one of 'cascade', 'little', 'big'"),
        (["a.png", "--json", "--csv"], "--json and --csv exclude each other"),
        ([], "Missing argument 'IMAGE...'"),
    ],
)
def test_wrong_usage_is_explained(ask, words, message):
    result = ask(*words)
    assert result.exit_code == 2
    assert message in result.stderr


def test_folder_without_images_is_reported_in_one_line(ask, tmp_path):
    result = ask(tmp_path)
    assert result.exit_code == 1
    assert result.stderr == (
        f"littlebig: {tmp_path}: no image files (.bmp, .gif, .jpeg, .jpg, .png, .webp) in this folder\n"
    )


def test_help_shows_defaults_and_an_example():
    text = " ".join(CliRunner().invoke(littlebig, ["classify", "--help"]).output.split())
    assert "Example: littlebig classify coffee.png" in text
    for default in ("localhost:8001;", "as served", "[default: 5]", "[default: 8]", "[default: 30.0]", "LITTLEBIG_URL"):
        assert default in text


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_closed_pipe_ends_the_command_silently(server, tmp_path, form):
    file = tmp_path / "a.png"
    file.write_bytes(encoded_picture(1))
    reading, writing = os.pipe()
    os.close(reading)
    # Enough rows to fill every buffer.
    process = start_classify(
        *[file] * 300, "--url", server.url, *form, stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (141, "")


def test_file_name_with_invalid_encoding_is_printed(server, tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff.png"
    with open(name, "wb") as file:
        file.write(encoded_picture(1))
    process = start_classify(os.fsdecode(name), "--url", server.url, "--csv", stdout=subprocess.PIPE)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "\N{REPLACEMENT CHARACTER}.png,1,goldfish" in output.decode()


def test_progress_bar_appears_on_a_terminal_and_rows_in_the_pipe(server, tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(encoded_picture(1))
    terminal, its_end = os.openpty()
    words = (*[file] * 50, tmp_path / "missing.png", "--url", server.url, "--csv")
    process = start_classify(*words, stdout=subprocess.PIPE, stderr=its_end)
    os.close(its_end)
    output, _ = process.communicate(timeout=120)
    seen = read_terminal(terminal)
    assert len(output.splitlines()) == 52
    assert b"\x1b" not in output
    assert b"/51" in seen
    assert b"missing.png: no such file" in seen


def test_ctrl_c_does_not_wait_for_requests_in_flight(server, tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(encoded_picture(1))
    server.hold = threading.Event()
    process = start_classify(
        *[file] * 20, "--url", server.url, "--timeout", "600", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    server.wait_for_requests(1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (130, b"", b"")


def test_port_without_grpc_is_reported_in_one_line(photos):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"127.0.0.1:{listening.getsockname()[1]}"
        result = CliRunner().invoke(command, [str(photos), "--url", url, "--timeout", "0.2"])
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
