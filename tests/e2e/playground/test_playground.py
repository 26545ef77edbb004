"""The playground in a headless Chromium, beside a real tritonserver with the tiny pair."""

import http.client
import io
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from littlebig_client import Client
from littlebig_server import ServerSettings, TritonServer

DEADLINE_S = 60
PICTURES = 24


def picture(number):
    """A picture of its own: coloured noise on a coloured ground."""
    random = np.random.default_rng(number)
    ground = random.integers(0, 200, 3)
    pixels = (ground + random.integers(0, 56, (40, 40, 3))).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


class Playground:
    """`littlebig playground` as a process."""

    def __init__(self, server):
        metrics = server.metrics_url.removeprefix("http://").removesuffix("/metrics")
        command = [sys.executable, "-m", "littlebig_cli", "playground", "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--url", server.grpc_url, "--metrics-url", metrics], stdout=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        self.url = line.split("is at ")[1].split()[0]

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=DEADLINE_S)
        assert self.process.returncode == 0


@pytest.fixture(scope="module")
def server(tiny_repository):
    with TritonServer(tiny_repository, ServerSettings(exit_timeout=0)) as running:
        yield running


@pytest.fixture(scope="module")
def playground(server):
    running = Playground(server)
    yield running
    running.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(PICTURES):
        (folder / f"{number:03}.png").write_bytes(picture(number))
    return folder


@pytest.fixture
def page(browser, playground):
    browser.open(playground.url, 1000)
    until(browser, "document.getElementById('value').textContent.length > 1")
    return browser


def until(page, condition):
    deadline = time.monotonic() + DEADLINE_S
    while not page.value(condition):
        assert time.monotonic() < deadline, f"{condition}: {page.value('document.body.innerText')}"
        time.sleep(0.05)


def choose(page, control, *files):
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    node = page.call("DOM.querySelector", nodeId=root, selector=f"#{control}")["nodeId"]
    page.call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])


def text(page, name):
    return page.value(f"document.getElementById('{name}').textContent").replace("\u00a0", " ")


def all_asked(page):
    until(page, "/^\\d+ pictures? asked/.test(document.getElementById('progress').textContent)")


def move(page, threshold):
    page.value(
        f"(s => {{ s.value = {threshold}; s.dispatchEvent(new Event('input')); }})(document.getElementById('threshold'))"
    )


def predictions(server, files):
    with Client(server.grpc_url) as client:
        return [[client.classify(file, policy=stage) for file in files] for stage in ("little", "big")]


def test_both_models_answers_and_what_a_threshold_does_are_shown(page, server, folder):
    files = sorted(folder.iterdir())
    little, big = predictions(server, files)
    choose(page, "pictures", *files)
    all_asked(page)
    assert page.value("document.querySelectorAll('#answers li').length") == PICTURES
    newest = page.value("document.querySelector('#answers li').innerText")
    assert little[-1].name in newest
    assert f"{big[-1].confidence:.3f}" in newest
    middle = float(np.median([answer.confidence for answer in little])) + 1e-6
    for threshold in (0, middle, 1):
        move(page, threshold)
        at = page.value("Number(document.getElementById('threshold').value)")
        escalated = [answer.confidence < at for answer in little]
        share = sum(escalated) / PICTURES
        agree = sum(up or one.label == other.label for up, one, other in zip(escalated, little, big, strict=True))
        assert text(page, "share") == shown(share)
        assert text(page, "quality") == shown(agree / PICTURES)
    until(page, "document.getElementById('rate').textContent.length > 1")
    assert text(page, "no-metrics") == ""
    assert faults(page) == []


def shown(share):
    return f"{100 * share:.{1 if 0 < share < 0.1 else 0}f} %"


def faults(page):
    return [event for event in page.events if event.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown")]


def test_folders_named_like_classes_are_labels(page, server, folder, tmp_path):
    files = sorted(folder.iterdir())
    little, big = predictions(server, files)
    for number, file in enumerate(files):
        # The tiny pair has no names of classes, so that folders are named by their numbers.
        label = (little if number % 2 else big)[number].label
        (tmp_path / "data" / str(label)).mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / str(label) / file.name).write_bytes(file.read_bytes())
    choose(page, "folder", tmp_path / "data")
    all_asked(page)
    right = sum(number % 2 == 0 or little[number].label == big[number].label for number in range(PICTURES))
    move(page, 1)
    assert text(page, "quality-name") == "accuracy of the cascade"
    assert text(page, "quality") == shown(right / PICTURES)
    assert f"on {PICTURES} labelled pictures" in text(page, "quality-detail")


def test_what_is_no_picture_is_refused_where_it_stands(page, folder, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (tmp_path / "notes.txt").write_text("no picture")
    choose(page, "pictures", tmp_path / "broken.png", tmp_path / "notes.txt", next(folder.iterdir()))
    until(page, "document.getElementById('progress').textContent.includes('2 pictures asked')")
    all_asked(page)
    assert text(page, "progress").startswith("2 pictures asked, 1 refused")
    assert "damaged PNG image" in page.value("document.querySelector('.error:not([hidden])').textContent")


def test_200_pictures_at_once_are_each_asked_once(page, tmp_path):
    for number in range(200):
        (tmp_path / f"{number}.png").write_bytes(picture(number))
    choose(page, "pictures", *tmp_path.iterdir())
    all_asked(page)
    assert text(page, "progress") == "200 pictures asked"
    assert page.value("document.querySelectorAll('#answers .answer:not([hidden])').length") == 200


def test_page_fits_a_phone(page):
    page.open(page.value("location.href"), 360)
    assert page.value("document.documentElement.scrollWidth") <= 360


def test_threshold_moves_by_keyboard_and_says_what_it_does(page):
    page.value("document.getElementById('threshold').focus()")
    before = float(text(page, "value"))
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key="ArrowRight", code="ArrowRight", windowsVirtualKeyCode=39)
    assert float(text(page, "value")) == pytest.approx(before + 0.001, abs=0.0004)
    assert text(page, "value") in page.value("document.getElementById('threshold').getAttribute('aria-valuetext')")
    assert not page.value("document.getElementById('reset').hidden")


def test_everything_that_can_be_used_has_a_name(page):
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    controls = [node for node in tree if node.get("role", {}).get("value") in ("button", "slider", "image")]
    assert len(controls) >= 4
    assert [node for node in controls if not node.get("name", {}).get("value")] == []


def request(playground, method, path, body=None, **headers):
    host, port = playground.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=DEADLINE_S)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read(1 << 16)
    finally:
        connection.close()


def test_foreign_sites_reach_nothing(playground):
    assert request(playground, "GET", "/", host="foreign.example")[0] == 400
    assert request(playground, "POST", "/classify", picture(1))[0] == 403


def test_too_long_a_body_is_refused(playground):
    status, answer = request(playground, "POST", "/classify", bytes(65 << 20), x_littlebig="1")
    assert status == 413
    assert json.loads(answer) == {"error": "the picture has more than 64 MiB"}


def test_taken_port_is_one_line(playground):
    port = playground.url.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "littlebig_cli", "playground", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        f"littlebig: port {port} on 127.0.0.1 cannot be listened on (Address already in use): choose another with --port\n"
    )


@pytest.mark.slow
def test_pictures_wait_for_a_server_that_comes_back(browser, tiny_repository, folder):
    server = TritonServer(tiny_repository, ServerSettings(exit_timeout=0))
    server.start()
    playground = Playground(server)
    try:
        ports = [int(url.rsplit(":", 1)[1].split("/")[0]) for url in (server.grpc_url, server.metrics_url)]
        browser.open(playground.url, 1000)
        until(browser, "document.getElementById('value').textContent.length > 1")
        server.stop()
        choose(browser, "pictures", *folder.iterdir())
        until(browser, "!document.getElementById('trouble').hidden")
        assert "nothing listens there" in text(browser, "trouble")
        with TritonServer(tiny_repository, ServerSettings(exit_timeout=0, grpc_port=ports[0], metrics_port=ports[1])):
            all_asked(browser)
            assert browser.value("document.querySelectorAll('#answers .answer:not([hidden])').length") == PICTURES
            assert browser.value("document.getElementById('trouble').hidden")
    finally:
        playground.close()
        server.stop()
