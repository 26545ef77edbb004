"""The labelling page in a real browser: labels by key, click and search, kept over a reload, exported as CSV."""

import csv
import io
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tests import chromium

from littlebig_calibration.errors import TableError
from littlebig_calibration.labelling.page import embedded, labelling_page, question, shown_names
from littlebig_calibration.labelling.pictures import check_present, shrunk_pictures

EVIL = "</script><script>alert(1)</script>\"\n&'.jpg"
NAMES = shown_names(["tench", "crane", "goldfish", "crane", "<b>hen</b>", "wolf"], 6)
# Little's answer first in the first pair, big's first in alphabetical order in the second.
QUESTIONS = [question(f"{place}.jpg", answers, NAMES) for place, answers in enumerate([(0, 2), (2, 0), (1, 3), (4, 5)])]
QUESTIONS.append(question(EVIL, (0, 5), NAMES))


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelling")
    picture = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(picture, "JPEG")
    addresses = [embedded(picture.getvalue())] * 4 + ["pictures/000004.jpg"]
    (folder / "pictures").mkdir()
    (folder / "pictures" / "000004.jpg").write_bytes(picture.getvalue())
    path = folder / "label.html"
    path.write_text(labelling_page(QUESTIONS, addresses, NAMES, "</title><script>alert(2)</script>"))
    return path


@pytest.fixture
def page(browser: chromium.Page, page_file: Path) -> chromium.Page:
    """The page, without labels of an earlier test."""
    browser.open(page_file.as_uri(), 1280)
    browser.value("localStorage.clear()")
    browser.open(page_file.as_uri(), 1280)
    return browser


def press(page: chromium.Page, *keys: str) -> None:
    for key in keys:
        text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
        page.call("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        page.call("Input.dispatchKeyEvent", type="keyUp", key=key)


def click(page: chromium.Page, element: str) -> None:
    page.value(f"document.getElementById('{element}').scrollIntoView()")
    box = page.value(
        f"(box => [box.x + box.width / 2, box.y + box.height / 2])(document.getElementById('{element}').getBoundingClientRect())"
    )
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)


def text(page: chromium.Page, element: str) -> str:
    return str(page.value(f"document.getElementById('{element}').textContent"))


def exported(page: chromium.Page, folder: Path) -> list[dict[str, str]]:
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    press(page, "e")
    wait_for((folder / "labels.csv").is_file)
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + chromium.DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_labels_by_key_click_and_search_are_exported_in_the_lists_order(page: chromium.Page, tmp_path: Path) -> None:
    press(page, "1")
    click(page, "choice0")
    press(page, "/")
    page.call("Input.insertText", text="CRANE")
    press(page, "ArrowDown", "Enter", "0")
    assert text(page, "count") == "4 of 5 labelled"
    assert text(page, "caption") == f"5 of 5: {EVIL}"
    press(page, "u")
    assert page.value("document.getElementById('done').hidden") is False
    rows = exported(page, tmp_path)
    assert [row["file"] for row in rows] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", EVIL]
    # Goldfish comes before tench, whichever model said it.
    assert [row["label"] for row in rows] == ["2", "2", "3", "none", "unclear"]
    assert [row["name"] for row in rows][:3] == ["goldfish", "goldfish", "crane (class 3)"]


def test_progress_survives_a_reload(page: chromium.Page, page_file: Path, tmp_path: Path) -> None:
    press(page, "2", "s", "1")
    page.open(page_file.as_uri(), 1280)
    assert text(page, "count") == "2 of 5 labelled"
    assert text(page, "caption").startswith("4 of 5")
    assert [row["label"] for row in exported(page, tmp_path)] == ["0", "", "1", "", ""]


def test_undo_takes_labels_back_and_skipped_pictures_return(page: chromium.Page) -> None:
    press(page, "s", "1", "2", "1", "1")
    assert text(page, "caption") == "1 of 5: 0.jpg"  # the skipped one, after the last
    press(page, "z")
    assert text(page, "caption") == f"5 of 5: {EVIL}"
    assert text(page, "count") == "3 of 5 labelled"
    press(page, "ArrowLeft")
    assert "labelled “<b>hen</b>”" in text(page, "caption")
    assert page.value("document.getElementById('choice0').getAttribute('aria-pressed')") == "true"
    press(page, "2")
    assert text(page, "count") == "3 of 5 labelled"


def test_shortcuts_can_be_switched_off(page: chromium.Page) -> None:
    click(page, "shortcuts")
    press(page, "1")
    assert text(page, "count") == "0 of 5 labelled"
    click(page, "choice1")
    assert text(page, "count") == "1 of 5 labelled"


@pytest.mark.parametrize("width", [1280, 360])
def test_page_fits_the_screen_without_errors_or_network(page: chromium.Page, page_file: Path, width: int) -> None:
    page.open(page_file.as_uri(), width)
    press(page, "1", "1", "1", "1")
    wait_for(lambda: page.value("document.getElementById('picture').complete"))
    assert page.value("document.getElementById('picture').naturalWidth") == 40
    for event in (
        "Runtime.exceptionThrown",
        "Runtime.consoleAPICalled",
        "Log.entryAdded",
        "Page.javascriptDialogOpening",
    ):
        assert page.received(event) == []
    urls = {event["request"]["url"] for event in page.received("Network.requestWillBeSent")}
    assert all(url.startswith(("data:", page_file.parent.as_uri())) for url in urls)
    assert page.value("document.documentElement.scrollWidth") <= width
    assert page.value("document.scripts.length") == 2


def test_controls_have_names_for_screen_readers(page: chromium.Page) -> None:
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    named = {
        (node["role"]["value"], node.get("name", {}).get("value", "").strip()) for node in nodes if not node["ignored"]
    }
    for role in ("button", "combobox", "checkbox", "image", "progressbar"):
        names = [name for each, name in named if each == role]
        assert names, role
        assert all(names), role
    assert ("combobox", "another class") in named


def test_page_says_nothing_about_models_or_scores() -> None:
    first, second = (
        labelling_page([question("a.jpg", answers, NAMES)], ["a"], NAMES, "x") for answers in ((0, 5), (5, 0))
    )
    assert first == second


def test_pictures_are_bounded_upright_and_opaque(tmp_path: Path) -> None:
    wide = Image.new("RGB", (1600, 400), "red")
    turned = Image.Exif()
    turned[0x0112] = 6
    wide.save(tmp_path / "turned.jpg", exif=turned)
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("I;16", (10, 10), 0x8000).save(tmp_path / "deep.png")
    shrunk = [
        Image.open(io.BytesIO(each)) for each in shrunk_pictures(tmp_path, ["turned.jpg", "clear.png", "deep.png"])
    ]
    assert [picture.size for picture in shrunk] == [(128, 512), (10, 10), (10, 10)]
    assert shrunk[1].getpixel((5, 5)) == (255, 255, 255)
    assert shrunk[2].getpixel((5, 5)) == (128, 128, 128)


def test_pictures_missing_or_broken_are_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"^2 pictures to label not in '.*' \(a\.jpg, b\.jpg\): give the folder"):
        check_present(tmp_path, ["a.jpg", "b.jpg"])
    (tmp_path / "c.jpg").write_text("nonsense")
    with pytest.raises(TableError, match=r"c\.jpg' cannot be shown \(.*\): repair it"):
        list(shrunk_pictures(tmp_path, ["c.jpg"]))
