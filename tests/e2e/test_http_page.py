"""Every command of docs/http.md runs against a real server and prints what the page shows."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from littlebig_contract.pictures import sample_photographs

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```\n\n```\n(.*?)```", PAGE, re.DOTALL)
NUMBER = r"\d+\.\d+"


def test_every_block_has_its_output():
    assert len(BLOCKS) == len(re.findall(r"```(?:sh|python)", PAGE)) == 5


@pytest.mark.parametrize(("language", "code", "expected"), BLOCKS, ids=range(len(BLOCKS)))
def test_block_prints_what_the_page_shows(server, tmp_path, language, code, expected):
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    shutil.copy(sample_photographs(("coffee.png",))[0], tmp_path)
    code = code.replace("localhost:8000", server.http_url).replace("localhost:8001", server.grpc_url)
    words = [sys.executable, "-c"] if language == "python" else ["/bin/bash", "-ec"]
    process = subprocess.run([*words, code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    assert re.sub(NUMBER, "N", process.stdout).split() == re.sub(NUMBER, "N", expected).split()
    # Probabilities differ a little between processors.
    shown = [float(number) for number in re.findall(NUMBER, expected)]
    assert [float(number) for number in re.findall(NUMBER, process.stdout)] == pytest.approx(shown, abs=0.01)
